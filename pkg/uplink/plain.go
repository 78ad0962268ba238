package uplink

import (
	"google.golang.org/protobuf/encoding/protowire"

	pb "xunjian/proto/uplink/v1"
)

// plainUp reads what nearly all messages are, a batch of reports and nothing else, into the objects of the message before.
type plainUp struct {
	up      pb.Up
	body    pb.Up_Batch
	batch   pb.Batch
	reports []*pb.Report
}

// plainMost is how many reports a plain message has at most.
const plainMost = 64

// Numbers of fields in uplink.proto.
const (
	upBatch       = 2
	batchReports  = 3
	reportSchema  = 1
	reportSeqStep = 2
	reportAtStep  = 3
	reportValues  = 4
)

// parse returns nil for all other messages, and for what is malformed, which the unmarshaller says better.
func (p *plainUp) parse(raw []byte) *pb.Up {
	batch, rest, ok := bytesField(raw, upBatch)
	if !ok || len(rest) > 0 {
		return nil
	}
	n := 0
	for ; len(batch) > 0; n++ {
		var report []byte
		if report, batch, ok = bytesField(batch, batchReports); !ok || n == plainMost {
			return nil
		}
		if n == len(p.reports) {
			p.reports = append(p.reports, &pb.Report{})
		}
		if !plainReport(report, p.reports[n]) {
			return nil
		}
	}
	p.batch.Reports, p.body.Batch, p.up.Body = p.reports[:n], &p.batch, &p.body
	return &p.up
}

// bytesField reads a length-delimited field if it has the number wanted.
func bytesField(raw []byte, want protowire.Number) (content, rest []byte, ok bool) {
	number, kind, n := protowire.ConsumeTag(raw)
	if n < 0 || number != want || kind != protowire.BytesType {
		return nil, nil, false
	}
	content, m := protowire.ConsumeBytes(raw[n:])
	if m < 0 {
		return nil, nil, false
	}
	return content, raw[n+m:], true
}

// plainReport reads a report that has only the fields that are known here.
func plainReport(raw []byte, r *pb.Report) bool {
	r.Schema, r.SeqStep, r.AtStep, r.Values = 0, 0, 0, nil
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		raw = raw[n:]
		if number == reportValues && kind == protowire.BytesType {
			if r.Values, n = protowire.ConsumeBytes(raw); n < 0 {
				return false
			}
			raw = raw[n:]
			continue
		}
		if kind != protowire.VarintType {
			return false
		}
		u, n := protowire.ConsumeVarint(raw)
		if n < 0 {
			return false
		}
		raw = raw[n:]
		switch number {
		case reportSchema:
			r.Schema = uint32(u)
		case reportSeqStep:
			r.SeqStep = protowire.DecodeZigZag(u)
		case reportAtStep:
			r.AtStep = protowire.DecodeZigZag(u)
		default:
			return false
		}
	}
	return true
}
