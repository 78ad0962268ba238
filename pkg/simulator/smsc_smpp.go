package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// smppServer is the centre's side of SMPP 3.4.
type smppServer struct{}

func newSMPPServer() smscCodec { return smppServer{} }

func (smppServer) read(packet []byte) (smscPacket, error) {
	whole, err := pdu.Parse(bytes.NewReader(packet))
	if err != nil {
		return smscPacket{}, err
	}
	p := smscPacket{raw: whole}
	switch r := whole.(type) {
	case *pdu.BindRequest:
		p.act, p.user, p.hears = smscLogin, r.SystemID, r.BindingType != pdu.Transmitter
		p.allowed = r.SystemID == SMPPUser && r.Password == SMSPassword
	case *pdu.EnquireLink:
		p.act = smscAlive
	case *pdu.SubmitSM:
		p.act, p.number = smscSubmit, r.DestAddr.Address()
		p.text, _ = r.Message.GetMessage() // what cannot be read was not sent by us
	case *pdu.DeliverSMResp:
		p.act, p.seq = smscHeard, uint32(r.SequenceNumber)
	case *pdu.Unbind:
		p.act = smscEnd
	}
	return p, nil
}

var smppStatuses = map[smscAnswer]data.CommandStatusType{
	smscWrongPassword: data.ESME_RINVPASWD, smscRefused: data.ESME_RSUBMITFAIL, smscThrottled: data.ESME_RTHROTTLED,
}

func (smppServer) answer(p smscPacket, how smscAnswer, id uint64) ([]byte, error) {
	answer := p.raw.(pdu.PDU).GetResponse()
	switch a := answer.(type) {
	case *pdu.BindResp:
		a.CommandStatus, a.SystemID = smppStatuses[how], "demo"
	case *pdu.SubmitSMResp:
		if a.CommandStatus = smppStatuses[how]; how == smscFine {
			a.MessageID = strconv.FormatUint(id, 10)
		}
	}
	return smppBytes(answer), nil
}

func (smppServer) report(seq uint32, m smscMessage) ([]byte, error) {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.SetSequenceNumber(int32(seq))
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	if err := d.SourceAddr.SetAddress(m.number); err != nil {
		return nil, err
	}
	const stamp = "0601021504"
	good := map[bool]string{true: "001", false: "000"}[m.stat == "DELIVRD"]
	text := fmt.Sprintf("id:%d sub:001 dlvrd:%s submit date:%s done date:%s stat:%s err:000 text:", m.id, good, m.at.Format(stamp), m.at.Format(stamp), m.stat)
	if err := d.Message.SetMessageWithEncoding(text, data.ASCII); err != nil {
		return nil, err
	}
	return smppBytes(d), nil
}

func (smppServer) message(seq uint32, m smscMessage) ([]byte, error) {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.SetSequenceNumber(int32(seq))
	if err := errors.Join(d.SourceAddr.SetAddress(m.number), d.Message.SetMessageWithEncoding(m.text, data.UCS2)); err != nil {
		return nil, err
	}
	return smppBytes(d), nil
}

func smppBytes(p pdu.PDU) []byte {
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	return b.Bytes()
}
