package sms

import (
	"encoding/binary"
	"slices"
	"testing"

	cmpp "github.com/bigwhite/gocmpp"
	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// packed are real packets for the fuzzers to begin with.
func packed(t interface{ Fatal(...any) }, codecs ...Codec) [][]byte {
	var out [][]byte
	for _, c := range codecs {
		for _, pack := range []func(uint32) ([]byte, error){c.Login, c.Keepalive, c.Terminate, func(seq uint32) ([]byte, error) {
			return c.Submit(seq, "13800000000", "【监测】短信通道测试")
		}} {
			b, err := pack(7)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
	}
	return out
}

// fuzzSMS gives a codec whole packets of any content, as the session does, and streams cut anywhere.
func fuzzSMS(f *testing.F, codec Codec, seeds [][]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		for len(stream) >= codec.Least() {
			n := int(binary.BigEndian.Uint32(stream))
			if n < codec.Least() || n > min(len(stream), MaxPacket) {
				n = min(len(stream), MaxPacket)
				stream = slices.Clone(stream)
				binary.BigEndian.PutUint32(stream, uint32(n))
			}
			p, err := decode(codec, stream[:n])
			if err == nil && p.Report != nil && (p.Report.ID == "" || p.Report.Stat == "" && codec.Least() == 16) {
				t.Errorf("a report without a message or a state: %+v", p.Report)
			}
			if len(p.Reply) > MaxPacket || len(p.Word) > 256 {
				t.Errorf("an answer of %d bytes, a word of %d", len(p.Reply), len(p.Word))
			}
			stream = stream[n:]
		}
	})
}

func receipt(f *testing.F) *pdu.DeliverSM {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	if err := d.Message.SetMessageWithEncoding("id:4711 sub:001 dlvrd:001 submit date:2611240000 done date:2611240001 stat:DELIVRD err:000 text:", data.ASCII); err != nil {
		f.Fatal(err)
	}
	return d
}

func FuzzSMPP(f *testing.F) {
	codec := smppCodec{Account{User: "xunjian", From: "10690000", Password: "secret"}}
	d := receipt(f)
	long := receipt(f)
	long.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: []byte("4711\x00")})
	long.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: []byte{2}})
	udh := receipt(f)
	udh.EsmClass |= data.SM_UDH_GSM
	s := pdu.NewSubmitSMResp().(*pdu.SubmitSMResp)
	s.MessageID = "4711"
	fuzzSMS(f, codec, append(packed(f, codec), smppBytes(d, 1), smppBytes(long, 2), smppBytes(udh, 3), smppBytes(s, 4), smppBytes(pdu.NewGenericNack(), 5), smppBytes(pdu.NewUnbind(), 6)))
}

func FuzzCMPP(f *testing.F) {
	three := cmppCodec{Account{User: "901234", From: "10690000", Password: "secret"}, cmpp.V30}
	two := three
	two.version = cmpp.V20
	receipt, err := (&cmpp.CmppReceiptPkt{MsgId: 4711, Stat: "DELIVRD", SubmitTime: "2611240000", DoneTime: "2611240001", DestTerminalId: "13800000000"}).Pack()
	if err != nil {
		f.Fatal(err)
	}
	seeds := packed(f, two, three)
	for _, p := range []cmpp.Packer{
		&cmpp.Cmpp2ConnRspPkt{Version: cmpp.V20}, &cmpp.Cmpp3ConnRspPkt{Version: cmpp.V30}, &cmpp.Cmpp2SubmitRspPkt{MsgId: 4711}, &cmpp.Cmpp3SubmitRspPkt{MsgId: 4711, Result: 8},
		&cmpp.Cmpp2DeliverReqPkt{RegisterDelivery: 1, MsgLength: uint8(len(receipt)), MsgContent: string(receipt)},
		&cmpp.Cmpp3DeliverReqPkt{RegisterDelivery: 1, MsgLength: uint8(len(receipt)), MsgContent: string(receipt)},
	} {
		b, err := p.Pack(9)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	for _, s := range seeds {
		f.Add(s, s[0] == 0)
	}
	f.Fuzz(func(t *testing.T, stream []byte, new bool) {
		codec := two
		if new {
			codec = three
		}
		for len(stream) >= codec.Least() {
			n := min(len(stream), MaxPacket)
			p, err := decode(codec, stream[:n])
			if err == nil && p.Report != nil && p.Report.ID == "" {
				t.Errorf("a report of no message: %+v", p.Report)
			}
			if len(p.Reply) > MaxPacket || len(p.Word) > 256 {
				t.Errorf("an answer of %d bytes, a word of %d", len(p.Reply), len(p.Word))
			}
			stream = stream[n:]
		}
	})
}
