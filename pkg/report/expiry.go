package report

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/measure"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
)

// expiries are the series that say when something ends, as seconds since 1970, and what it is: a key of the catalogue.
var expiries = []struct{ series, kind string }{
	{"probe_ssl_earliest_cert_expiry", "certificate"},
	{"xunjian_probe_tlcp_cert_expiry", "tlcp"},
}

// Expiry is a certificate that ends, as it was last seen in the month (2.4).
type Expiry struct {
	Service string    `json:"service"`
	ZH      string    `json:"zh"`
	EN      string    `json:"en"`
	Check   string    `json:"check"`
	Target  string    `json:"target"`
	Kind    string    `json:"kind"`            // certificate, tlcp
	Usage   string    `json:"usage,omitempty"` // of a TLCP certificate: sign, enc
	Until   time.Time `json:"until"`
	Days    int64     `json:"days"` // left at the end of what was seen; below 0 when it had ended
}

// expiring lists certificates, the first to end first; what several agents saw alike stands once.
func (b *builder) expiring(ctx context.Context) ([]Expiry, error) {
	window := b.window(b.month)
	latest := map[string]Expiry{}
	for _, e := range expiries {
		seen := map[string]int64{}
		err := b.src.Samples.Select(ctx, time.UnixMilli(window.From), time.UnixMilli(window.To), e.series, nil, func(s metric.Series, ts []int64, vs []float64) error {
			x := b.expiry(s, e.kind)
			key := x.Check + "\x00" + x.Kind + "\x00" + x.Usage
			for i, t := range ts {
				if !math.IsNaN(vs[i]) && vs[i] > 0 && t >= seen[key] {
					x.Until, seen[key] = time.Unix(int64(vs[i]), 0).UTC(), t
					latest[key] = x
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]Expiry, 0, len(latest))
	for _, x := range latest {
		x.Days = int64(math.Floor(x.Until.Sub(time.UnixMilli(window.To)).Hours() / 24))
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Expiry) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Usage, b.Usage))
	})
	return out, nil
}

func (b *builder) expiry(s metric.Series, kind string) Expiry {
	x := Expiry{Service: s.Get("service"), Check: s.Get(measure.LabelCheck), Target: s.Get("instance"), Kind: kind, Usage: s.Get("usage")}
	for _, svc := range b.src.all() {
		if svc.Name == x.Service {
			x.ZH, x.EN = svc.ZH, svc.EN
		}
	}
	return x
}

// warns says that an incident is an early warning or a gap in monitoring (预警, 监测), which is no fault of the service while
// nobody has graded it higher; or that it was a false alarm (误报), and the contract spares those.
func warns(f Fault) bool {
	return f.Spared && f.Excused == incident.ExcusedFalse || f.Level == contract.Minor && (f.Class == symptom.Warning || f.Class == symptom.Unknown)
}

// apart parts the warnings from the faults.
func apart(all []Fault) (faults, warnings []Fault) {
	for _, f := range all {
		if warns(f) {
			warnings = append(warnings, f)
		} else {
			faults = append(faults, f)
		}
	}
	return faults, warnings
}
