package sms

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// smppCodec speaks SMPP 3.4.
type smppCodec struct {
	Account
}

// NewSMPP speaks SMPP 3.4, which has room for eight characters of password.
func NewSMPP(a Account) (Codec, error) {
	if len(a.Password) > 8 {
		return nil, fmt.Errorf("secret password: %d characters, SMPP has room for 8", len(a.Password))
	}
	return smppCodec{a}, nil
}

func (c smppCodec) Least() int { return 16 }

// smppBytes is a PDU as it is sent. The library numbers PDUs by a counter of the whole process; sessions have their own.
func smppBytes(p pdu.PDU, seq uint32) []byte {
	p.SetSequenceNumber(int32(seq))
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	return b.Bytes()
}

func (c smppCodec) Login(seq uint32) ([]byte, error) {
	kind := pdu.Transceiver
	if c.Transmitter {
		kind = pdu.Transmitter
	}
	b := pdu.NewBindRequest(kind)
	b.SystemID, b.Password, b.SystemType = c.User, c.Password, c.System
	return smppBytes(b, seq), nil
}

func (c smppCodec) Keepalive(seq uint32) ([]byte, error) {
	return smppBytes(pdu.NewEnquireLink(), seq), nil
}

func (c smppCodec) Terminate(seq uint32) ([]byte, error) { return smppBytes(pdu.NewUnbind(), seq), nil }

// Submit asks for a report whether the message arrives or not.
func (c smppCodec) Submit(seq uint32, number, text string) ([]byte, error) {
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

var smppCauses = map[data.CommandStatusType]Cause{
	data.ESME_RTHROTTLED: Throttled,
	data.ESME_RALYBND:    Busy,
	data.ESME_RBINDFAIL:  Credentials,
	data.ESME_RINVPASWD:  Credentials,
	data.ESME_RINVSYSID:  Credentials,
	data.ESME_RINVSYSTYP: Credentials,
}

// Read leaves the body of a refusal alone: it need not have one, and the library insists.
func (c smppCodec) Read(frame []byte) (Packet, error) {
	h := pdu.ParseHeader([16]byte(frame))
	p := Packet{Seq: uint32(h.SequenceNumber), Status: uint32(h.CommandStatus)}
	if p.Status != 0 {
		p.Cause = smppCauses[h.CommandStatus]
		p.Word = fmt.Sprintf("0x%02X %s", p.Status, h.CommandStatus)
	}
	switch h.CommandID {
	case data.BIND_TRANSCEIVER_RESP, data.BIND_TRANSMITTER_RESP:
		p.Act = LoggedIn
	case data.ENQUIRE_LINK_RESP:
		p.Act = Alive
	case data.UNBIND_RESP:
		p.Act = Terminated
	case data.GENERIC_NACK:
		p.Act = Nack
	case data.ENQUIRE_LINK:
		p.Reply = smppBytes(pdu.NewEnquireLinkResp(), p.Seq)
	case data.UNBIND:
		p.Act, p.Reply = Ended, smppBytes(pdu.NewUnbindResp(), p.Seq)
	case data.DELIVER_SM:
		p.Reply = smppBytes(pdu.NewDeliverSMResp(), p.Seq)
		p.Report, p.Message = smppDelivered(frame)
	case data.SUBMIT_SM_RESP:
		p.Act = Submitted
		if p.Status != 0 {
			return p, nil
		}
		whole, err := pdu.Parse(bytes.NewReader(frame))
		if err != nil {
			return p, err
		}
		p.ID = c.id(whole.(*pdu.SubmitSMResp).MessageID)
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
	smppStates  = map[byte]string{1: "ENROUTE", 2: Delivered, 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD"}
)

// smppDelivered is a report of a message of ours, or what a telephone has sent; neither when it cannot be read: it is
// acknowledged all the same.
func smppDelivered(frame []byte) (*Report, *Message) {
	whole, err := pdu.Parse(bytes.NewReader(frame))
	if err != nil {
		return nil, nil
	}
	d := whole.(*pdu.DeliverSM)
	raw, _ := d.Message.GetMessageData()
	if long := d.OptionalParameters[pdu.TagMessagePayload]; len(raw) == 0 {
		raw = long.Data
	}
	switch d.EsmClass & 0x3c {
	case data.SM_SMSC_DLV_RCPT_TYPE, data.SM_INTMD_DLV_NOTIFY_TYPE:
		return smppReport(d, raw), nil
	case 0:
		text := string(raw)
		if coding := d.Message.Encoding(); coding != nil {
			if decoded, err := coding.Decode(raw); err == nil {
				text = decoded
			}
		}
		from := d.SourceAddr.Address()
		if d.SourceAddr.Ton() == data.GSM_TON_INTERNATIONAL && from != "" && from[0] != '+' {
			from = "+" + from
		}
		return nil, &Message{From: from, Text: strings.ToValidUTF8(text, "?")}
	}
	return nil, nil
}

// smppReport is nil when a report does not say of which message, or what.
func smppReport(d *pdu.DeliverSM, text []byte) *Report {
	var r Report
	if m := receiptID.FindSubmatch(text); m != nil {
		r.ID = string(m[1])
	}
	if m := receiptStat.FindSubmatch(text); m != nil {
		r.Stat = string(m[1])
	}
	if id, ok := d.OptionalParameters[pdu.TagReceiptedMessageID]; ok && len(id.Data) > 0 {
		r.ID = id.String()
	}
	if state, ok := d.OptionalParameters[pdu.TagMessageStateOption]; ok && len(state.Data) == 1 && r.Stat == "" {
		r.Stat = smppStates[state.Data[0]]
	}
	if r.ID == "" || r.Stat == "" {
		return nil
	}
	r.ID = plainID(r.ID)
	return &r
}
