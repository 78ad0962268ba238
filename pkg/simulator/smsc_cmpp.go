package simulator

import (
	"encoding/binary"
	"slices"
	"strings"

	cmpp "github.com/bigwhite/gocmpp"
	cmpputils "github.com/bigwhite/gocmpp/utils"
)

// cmppServer is the centre's side of CMPP; the login says which version.
type cmppServer struct {
	version cmpp.Type
	proof   string // the login's authenticator, which the answer's is made of
}

func newCMPPServer() smscCodec { return &cmppServer{version: cmpp.V30} }

func (c *cmppServer) read(packet []byte) (smscPacket, error) {
	body := packet[8:]
	switch cmpp.CommandId(binary.BigEndian.Uint32(packet[4:])) {
	case cmpp.CMPP_CONNECT:
		return c.login(body)
	case cmpp.CMPP_ACTIVE_TEST:
		r := &cmpp.CmppActiveTestReqPkt{}
		return smscPacket{act: smscAlive, raw: r}, r.Unpack(body)
	case cmpp.CMPP_TERMINATE:
		r := &cmpp.CmppTerminateReqPkt{}
		return smscPacket{act: smscEnd, raw: r}, r.Unpack(body)
	case cmpp.CMPP_DELIVER_RESP:
		return smscPacket{act: smscHeard, seq: binary.BigEndian.Uint32(body)}, nil
	case cmpp.CMPP_SUBMIT:
		if c.version == cmpp.V20 {
			r := &cmpp.Cmpp2SubmitReqPkt{}
			err := r.Unpack(body)
			return smscPacket{act: smscSubmit, number: strings.Join(r.DestTerminalId, ","), text: cmppText(r.MsgContent), raw: r}, err
		}
		r := &cmpp.Cmpp3SubmitReqPkt{}
		err := r.Unpack(body)
		return smscPacket{act: smscSubmit, number: strings.Join(r.DestTerminalId, ","), text: cmppText(r.MsgContent), raw: r}, err
	}
	return smscPacket{}, nil
}

// cmppText is what was sent, as all that is sent here: in UCS-2.
func cmppText(content string) string {
	text, err := cmpputils.Ucs2ToUtf8(content)
	if err != nil {
		return content
	}
	return text
}

// login packs what the client should have sent and compares.
func (c *cmppServer) login(body []byte) (smscPacket, error) {
	r := &cmpp.CmppConnReqPkt{}
	if err := r.Unpack(body); err != nil {
		return smscPacket{}, err
	}
	want := &cmpp.CmppConnReqPkt{SrcAddr: r.SrcAddr, Secret: SMSPassword, Version: r.Version, Timestamp: r.Timestamp}
	if _, err := want.Pack(0); err != nil {
		return smscPacket{}, err
	}
	if r.Version != cmpp.V30 {
		c.version = cmpp.V20
	}
	c.proof = r.AuthSrc
	return smscPacket{act: smscLogin, user: r.SrcAddr, allowed: r.SrcAddr == CMPPUser && r.AuthSrc == want.AuthSrc, hears: true, raw: r}, nil
}

var (
	cmppLogins  = map[smscAnswer]uint8{smscWrongPassword: cmpp.ErrnoConnAuthFailed}
	cmppSubmits = map[smscAnswer]uint8{smscRefused: cmpp.ErrnoSubmitInvalidSrcId, smscThrottled: cmpp.ErrnoSubmitNotPassFlowControl}
)

func (c *cmppServer) answer(p smscPacket, how smscAnswer, id uint64) ([]byte, error) {
	switch r := p.raw.(type) {
	case *cmpp.CmppConnReqPkt:
		if c.version == cmpp.V20 {
			return (&cmpp.Cmpp2ConnRspPkt{Status: cmppLogins[how], Version: cmpp.V20, Secret: SMSPassword, AuthSrc: c.proof}).Pack(r.SeqId)
		}
		return (&cmpp.Cmpp3ConnRspPkt{Status: uint32(cmppLogins[how]), Version: cmpp.V30, Secret: SMSPassword, AuthSrc: c.proof}).Pack(r.SeqId)
	case *cmpp.CmppActiveTestReqPkt:
		return (&cmpp.CmppActiveTestRspPkt{}).Pack(r.SeqId)
	case *cmpp.CmppTerminateReqPkt:
		return (&cmpp.CmppTerminateRspPkt{}).Pack(r.SeqId)
	case *cmpp.Cmpp2SubmitReqPkt:
		return (&cmpp.Cmpp2SubmitRspPkt{MsgId: id, Result: cmppSubmits[how]}).Pack(r.SeqId)
	}
	return (&cmpp.Cmpp3SubmitRspPkt{MsgId: id, Result: uint32(cmppSubmits[how])}).Pack(p.raw.(*cmpp.Cmpp3SubmitReqPkt).SeqId)
}

func (c *cmppServer) report(seq uint32, m smscMessage) ([]byte, error) {
	const stamp = "0601021504"
	content, err := (&cmpp.CmppReceiptPkt{
		MsgId: m.id, Stat: m.stat, SubmitTime: m.at.Format(stamp), DoneTime: m.at.Format(stamp), DestTerminalId: m.number, SmscSequence: seq,
	}).Pack()
	if err != nil {
		return nil, err
	}
	if c.version == cmpp.V20 {
		return (&cmpp.Cmpp2DeliverReqPkt{MsgId: m.id, DestId: "10690000", SrcTerminalId: m.number, RegisterDelivery: 1, MsgLength: uint8(len(content)), MsgContent: string(content)}).Pack(seq)
	}
	// The library writes the 60 bytes of 2.0; 3.0 has 11 more for the number, which ends before the last four bytes.
	content = slices.Insert(content, len(content)-4, make([]byte, 11)...)
	return (&cmpp.Cmpp3DeliverReqPkt{MsgId: m.id, DestId: "10690000", SrcTerminalId: m.number, RegisterDelivery: 1, MsgLength: uint8(len(content)), MsgContent: string(content)}).Pack(seq)
}

func (c *cmppServer) message(seq uint32, m smscMessage) ([]byte, error) {
	const ucs2 = 8
	content, err := cmpputils.Utf8ToUcs2(m.text)
	if err != nil {
		return nil, err
	}
	if c.version == cmpp.V20 {
		return (&cmpp.Cmpp2DeliverReqPkt{MsgId: m.id, DestId: "10690000", SrcTerminalId: m.number, MsgFmt: ucs2, MsgLength: uint8(len(content)), MsgContent: content}).Pack(seq)
	}
	return (&cmpp.Cmpp3DeliverReqPkt{MsgId: m.id, DestId: "10690000", SrcTerminalId: m.number, MsgFmt: ucs2, MsgLength: uint8(len(content)), MsgContent: content}).Pack(seq)
}
