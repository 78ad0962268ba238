package sms

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	cmpp "github.com/bigwhite/gocmpp"
	cmpputils "github.com/bigwhite/gocmpp/utils"
)

// cmppCodec speaks CMPP 2.0 or 3.0.
type cmppCodec struct {
	Account
	version cmpp.Type
}

// NewCMPP speaks CMPP 2.0 or 3.0.
func NewCMPP(a Account) (Codec, error) {
	c := cmppCodec{a, cmpp.V30}
	if a.Version == "2.0" {
		c.version = cmpp.V20
	}
	return c, nil
}

func (c cmppCodec) Least() int { return int(cmpp.CMPP_HEADER_LEN) }

// beijing is the clock that gateways compare the login's time stamp with, wherever this host's stands.
var beijing = time.FixedZone("", 8*60*60)

func (c cmppCodec) Login(seq uint32) ([]byte, error) {
	stamp, err := strconv.ParseUint(time.Now().In(beijing).Format("0102150405"), 10, 32)
	if err != nil {
		return nil, err
	}
	return (&cmpp.CmppConnReqPkt{SrcAddr: c.User, Secret: c.Password, Version: c.version, Timestamp: uint32(stamp)}).Pack(seq)
}

func (c cmppCodec) Keepalive(seq uint32) ([]byte, error) {
	return (&cmpp.CmppActiveTestReqPkt{}).Pack(seq)
}

func (c cmppCodec) Terminate(seq uint32) ([]byte, error) {
	return (&cmpp.CmppTerminateReqPkt{}).Pack(seq)
}

// Submit sends UCS-2, asks for a report, and has the SP pay for what costs nothing.
func (c cmppCodec) Submit(seq uint32, number, text string) ([]byte, error) {
	const reportWanted, ucs2, spPays, free = 1, 8, 2, "01"
	content, err := cmpputils.Utf8ToUcs2(text)
	if err != nil {
		return nil, err
	}
	if c.version == cmpp.V20 {
		return (&cmpp.Cmpp2SubmitReqPkt{
			RegisteredDelivery: reportWanted, MsgLevel: 1, ServiceId: c.Service, FeeUserType: spPays, MsgFmt: ucs2, MsgSrc: c.User, FeeType: free, FeeCode: "0",
			SrcId: c.From, DestUsrTl: 1, DestTerminalId: []string{number}, MsgLength: uint8(len(content)), MsgContent: content,
		}).Pack(seq)
	}
	return (&cmpp.Cmpp3SubmitReqPkt{
		RegisteredDelivery: reportWanted, MsgLevel: 1, ServiceId: c.Service, FeeUserType: spPays, MsgFmt: ucs2, MsgSrc: c.User, FeeType: free, FeeCode: "0",
		SrcId: c.From, DestUsrTl: 1, DestTerminalId: []string{number}, MsgLength: uint8(len(content)), MsgContent: content,
	}).Pack(seq)
}

func (c cmppCodec) Read(frame []byte) (Packet, error) {
	p := Packet{Seq: binary.BigEndian.Uint32(frame[8:])}
	body := frame[8:] // the library's packets begin at the sequence number
	var err error
	switch cmpp.CommandId(binary.BigEndian.Uint32(frame[4:])) {
	case cmpp.CMPP_CONNECT_RESP:
		p.Act = LoggedIn
		if p.Status, err = cmppConnected(body); p.Status >= 2 && p.Status <= 4 { // source address, authenticator, version
			p.Cause = Credentials
		}
		p.Word = cmppWord(p.Status, cmpp.ConnRspStatusErrMap)
	case cmpp.CMPP_SUBMIT_RESP:
		p.Act = Submitted
		if p.ID, p.Status, err = cmppSubmitted(body); p.Status == uint32(cmpp.ErrnoSubmitNotPassFlowControl) {
			p.Cause = Throttled
		}
		p.Word = cmppWord(p.Status, cmpp.SubmitRspResultErrMap)
	case cmpp.CMPP_ACTIVE_TEST_RESP:
		p.Act = Alive
	case cmpp.CMPP_TERMINATE_RESP:
		p.Act = Terminated
	case cmpp.CMPP_ACTIVE_TEST:
		p.Reply, err = (&cmpp.CmppActiveTestRspPkt{}).Pack(p.Seq)
	case cmpp.CMPP_TERMINATE:
		p.Act = Ended
		p.Reply, err = (&cmpp.CmppTerminateRspPkt{}).Pack(p.Seq)
	case cmpp.CMPP_DELIVER:
		err = c.delivered(&p, body)
	}
	return p, err
}

// cmppWord is what the standard calls a status.
func cmppWord(status uint32, words map[uint8]error) string {
	if err := words[uint8(status)]; err != nil && status <= 0xff {
		return fmt.Sprintf("%d %v", status, err)
	}
	return strconv.FormatUint(uint64(status), 10)
}

// cmppConnected tells the two versions apart by length: a gateway of 2.0 refuses a 3.0 login in its own form.
func cmppConnected(body []byte) (uint32, error) {
	if len(body) == int(cmpp.Cmpp2ConnRspPktLen)-8 {
		var r cmpp.Cmpp2ConnRspPkt
		err := r.Unpack(body)
		return uint32(r.Status), err
	}
	var r cmpp.Cmpp3ConnRspPkt
	err := r.Unpack(body)
	return r.Status, err
}

func cmppSubmitted(body []byte) (string, uint32, error) {
	if len(body) == int(cmpp.Cmpp2SubmitRspPktLen)-8 {
		var r cmpp.Cmpp2SubmitRspPkt
		err := r.Unpack(body)
		return cmppID(r.MsgId), uint32(r.Result), err
	}
	var r cmpp.Cmpp3SubmitRspPkt
	err := r.Unpack(body)
	return cmppID(r.MsgId), r.Result, err
}

func cmppID(id uint64) string { return strconv.FormatUint(id, 10) }

// delivered reads what a telephone has sent, or a report of a message of ours; both are acknowledged.
func (c cmppCodec) delivered(p *Packet, body []byte) (err error) {
	var isReport, coding, header uint8
	var from, content string
	if c.version == cmpp.V20 {
		var d cmpp.Cmpp2DeliverReqPkt
		if err = d.Unpack(body); err != nil {
			return err
		}
		isReport, coding, header, from, content = d.RegisterDelivery, d.MsgFmt, d.TpUdhi, d.SrcTerminalId, d.MsgContent
		p.Reply, err = (&cmpp.Cmpp2DeliverRspPkt{MsgId: d.MsgId}).Pack(p.Seq)
	} else {
		var d cmpp.Cmpp3DeliverReqPkt
		if err = d.Unpack(body); err != nil {
			return err
		}
		isReport, coding, header, from, content = d.RegisterDelivery, d.MsgFmt, d.TpUdhi, d.SrcTerminalId, d.MsgContent
		p.Reply, err = (&cmpp.Cmpp3DeliverRspPkt{MsgId: d.MsgId}).Pack(p.Seq)
	}
	if isReport != 1 {
		p.Message = &Message{From: from, Text: cmppText(content, coding, header == 1)}
		return err
	}
	// The library knows the 60 bytes of 2.0; in the 71 of 3.0 all that is wanted lies at the same place.
	var r cmpp.CmppReceiptPkt
	if r.Unpack([]byte(content)) == nil {
		p.Report = &Report{ID: cmppID(r.MsgId), Stat: r.Stat}
	}
	return err
}

// cmppText is what people read. What says no known coding is taken as it is: a code to reply with is digits in all of them.
func cmppText(content string, coding uint8, header bool) string {
	if header && len(content) > 0 && int(content[0]) < len(content) {
		content = content[1+int(content[0]):] // a part of a longer message
	}
	var text string
	var err error
	switch coding {
	case 8:
		text, err = cmpputils.Ucs2ToUtf8(content)
	case 15:
		text, err = cmpputils.GB18030ToUtf8(content)
	default:
		text = content
	}
	if err != nil {
		text = content
	}
	return strings.ToValidUTF8(text, "?")
}
