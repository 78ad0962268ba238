package probe

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"xunjian/pkg/check"
)

// smppCodec speaks SMPP 3.4.
type smppCodec struct {
	check.SMS
	password string
}

func newSMPP(spec check.Spec, env Env) (Asker, error) {
	return newSMS(spec, env, func(m check.SMS, password string) (smsCodec, error) {
		if len(password) > 8 {
			return nil, fmt.Errorf("secret password: %d characters, SMPP has room for 8", len(password))
		}
		return smppCodec{m, password}, nil
	})
}

func (c smppCodec) least() int { return 16 }

// smppBytes is a PDU as it is sent. The library numbers PDUs by a counter of the whole process; sessions have their own.
func smppBytes(p pdu.PDU, seq uint32) []byte {
	p.SetSequenceNumber(int32(seq))
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	return b.Bytes()
}

func (c smppCodec) login(seq uint32) ([]byte, error) {
	kind := pdu.Transceiver
	if c.Bind == check.SMSTransmitter {
		kind = pdu.Transmitter
	}
	b := pdu.NewBindRequest(kind)
	b.SystemID, b.Password, b.SystemType = c.User, c.password, c.System
	return smppBytes(b, seq), nil
}

func (c smppCodec) keepalive(seq uint32) ([]byte, error) {
	return smppBytes(pdu.NewEnquireLink(), seq), nil
}

func (c smppCodec) terminate(seq uint32) ([]byte, error) { return smppBytes(pdu.NewUnbind(), seq), nil }

// submit asks for a report whether the message arrives or not.
func (c smppCodec) submit(seq uint32, number, text string) ([]byte, error) {
	s := pdu.NewSubmitSM().(*pdu.SubmitSM)
	s.ServiceType, s.RegisteredDelivery = c.Service, 1
	if err := s.SourceAddr.SetAddress(c.From); err != nil {
		return nil, err
	}
	national, abroad := strings.CutPrefix(number, "+")
	if abroad {
		s.DestAddr.SetTon(data.GSM_TON_INTERNATIONAL)
		s.DestAddr.SetNpi(data.GSM_NPI_E164)
	}
	if err := s.DestAddr.SetAddress(national); err != nil {
		return nil, err
	}
	if err := s.Message.SetMessageWithEncoding(text, data.UCS2); err != nil {
		return nil, err
	}
	return smppBytes(s, seq), nil
}

var smppCauses = map[data.CommandStatusType]smsCause{
	data.ESME_RTHROTTLED: smsThrottled,
	data.ESME_RALYBND:    smsBusy,
	data.ESME_RBINDFAIL:  smsCredentials,
	data.ESME_RINVPASWD:  smsCredentials,
	data.ESME_RINVSYSID:  smsCredentials,
	data.ESME_RINVSYSTYP: smsCredentials,
}

// read leaves the body of a refusal alone: it need not have one, and the library insists.
func (c smppCodec) read(frame []byte) (smsPacket, error) {
	h := pdu.ParseHeader([16]byte(frame))
	p := smsPacket{seq: uint32(h.SequenceNumber), status: uint32(h.CommandStatus)}
	if p.status != 0 {
		p.cause = smppCauses[h.CommandStatus]
		p.word = fmt.Sprintf("0x%02X %s", p.status, h.CommandStatus)
	}
	switch h.CommandID {
	case data.BIND_TRANSCEIVER_RESP, data.BIND_TRANSMITTER_RESP:
		p.act = smsLoggedIn
	case data.ENQUIRE_LINK_RESP:
		p.act = smsAlive
	case data.UNBIND_RESP:
		p.act = smsTerminated
	case data.GENERIC_NACK:
		p.act = smsNack
	case data.ENQUIRE_LINK:
		p.reply = smppBytes(pdu.NewEnquireLinkResp(), p.seq)
	case data.UNBIND:
		p.act, p.reply = smsEnded, smppBytes(pdu.NewUnbindResp(), p.seq)
	case data.DELIVER_SM:
		p.reply = smppBytes(pdu.NewDeliverSMResp(), p.seq)
		p.report = smppReport(frame)
	case data.SUBMIT_SM_RESP:
		p.act = smsSubmitted
		if p.status != 0 {
			return p, nil
		}
		whole, err := pdu.Parse(bytes.NewReader(frame))
		if err != nil {
			return p, err
		}
		p.id = c.id(whole.(*pdu.SubmitSMResp).MessageID)
	}
	return p, nil
}

// id is a message's name in the form in which reports give it.
func (c smppCodec) id(given string) string {
	if n, err := strconv.ParseUint(given, 16, 64); c.HexIDs && err == nil {
		return strconv.FormatUint(n, 10)
	}
	return plainID(given)
}

// plainID takes away what platforms write differently in answers and in reports.
func plainID(id string) string {
	if bare := strings.TrimLeft(strings.ToLower(id), "0"); bare != "" {
		return bare
	}
	return id
}

var (
	receiptID   = regexp.MustCompile(`(?i)\bid:\s*([!-~]+)`)
	receiptStat = regexp.MustCompile(`(?i)\bstat:\s*([A-Z]+)`)
	smppStates  = map[byte]string{1: "ENROUTE", 2: smsDelivered, 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD"}
)

// smppReport is nil when the message is no delivery report, or none that can be read: it is acknowledged all the same.
func smppReport(frame []byte) *smsReport {
	whole, err := pdu.Parse(bytes.NewReader(frame))
	if err != nil {
		return nil
	}
	d := whole.(*pdu.DeliverSM)
	if kind := d.EsmClass & 0x3c; kind != data.SM_SMSC_DLV_RCPT_TYPE && kind != data.SM_INTMD_DLV_NOTIFY_TYPE {
		return nil
	}
	text, _ := d.Message.GetMessageData()
	if long := d.OptionalParameters[pdu.TagMessagePayload]; len(text) == 0 {
		text = long.Data
	}
	var r smsReport
	if m := receiptID.FindSubmatch(text); m != nil {
		r.id = string(m[1])
	}
	if m := receiptStat.FindSubmatch(text); m != nil {
		r.stat = string(m[1])
	}
	if id, ok := d.OptionalParameters[pdu.TagReceiptedMessageID]; ok && len(id.Data) > 0 {
		r.id = id.String()
	}
	if state, ok := d.OptionalParameters[pdu.TagMessageStateOption]; ok && len(state.Data) == 1 && r.stat == "" {
		r.stat = smppStates[state.Data[0]]
	}
	if r.id == "" || r.stat == "" {
		return nil
	}
	r.id = plainID(r.id)
	return &r
}
