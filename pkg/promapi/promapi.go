// Package promapi shows Prometheus what the collector knows: the last samples of the whole fleet and its own health.
package promapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"xunjian/pkg/metric"
)

const (
	maxScrapes   = 4                // at one time; the next are told to come again
	staleAfter   = 5 * time.Minute  // PromQL's lookback: an older sample is no longer the present
	writeTimeout = 30 * time.Second // for a whole answer
)

// Lasts gives the newest sample of every series. fn is called without a transaction open.
type Lasts interface {
	Last(fn func(series metric.Series, atMS int64, v float64)) error
}

// Options are what the exposition is made of.
type Options struct {
	Lasts      Lasts
	Own        prometheus.Gatherer // the collector's own registry
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// NewRegistry is the registry for the collector's own metrics, with those of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

type exposition struct {
	Options
	slots chan struct{}
	*counters
}

// Metrics serves the exposition. Fleet samples carry the time of their reading, as Prometheus' /federate does, so that
// rates come out as if the hosts were scraped; scrape with honor_labels, for each series names its own instance.
func Metrics(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &exposition{Options: o, slots: make(chan struct{}, maxScrapes), counters: newMetrics(o.Registerer)}
}

// ServeHTTP answers at once with 503 when as many scrapes as allowed are under way.
func (e *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	default:
		e.busy.Inc()
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many scrapes at one time", http.StatusServiceUnavailable)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder in a test has none
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	var out io.Writer = w
	if acceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		out = gzip.NewWriter(w)
	}
	err := e.write(out, format, time.Now())
	if z, ok := out.(io.Closer); ok && err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the peer is gone, or must not take half an answer for a whole one
	}
}

// acceptsGzip reads Accept-Encoding as far as scrapers use it.
func acceptsGzip(h http.Header) bool {
	for part := range strings.SplitSeq(h.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name != "gzip" {
			continue
		}
		q, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && weight > 0
	}
	return false
}

// write merges the collector's families with the fleet's in order of names, one family in memory at a time.
func (e *exposition) write(w io.Writer, format expfmt.Format, now time.Time) error {
	fleet, err := e.fleet(now)
	if err != nil { // as a scrape of a host that is down: what else there is is shown, what is missing is counted
		e.unread.Inc()
		e.Logger.Error("the fleet's last samples are incomplete", "err", err)
	}
	own, err := e.Own.Gather()
	if err != nil { // what could be gathered is shown
		e.Logger.Error("own metrics are incomplete", "err", err)
	}
	own = slices.DeleteFunc(own, unlintable)
	p := &printer{e: e, w: w, format: format}
	for len(own) > 0 || len(fleet) > 0 {
		switch {
		case len(fleet) == 0, len(own) > 0 && own[0].GetName() < fleet[0].series.Name:
			p.print(own[0])
			own = own[1:]
		default:
			var same []last
			same, fleet = cutFamily(fleet)
			f := family(same)
			if len(own) > 0 && own[0].GetName() == f.GetName() {
				f = e.join(own[0], f)
				own = own[1:]
			}
			p.print(f)
		}
	}
	p.close()
	return p.err
}

// unlintable are the native histograms that Prometheus' packages bring along under names that its own linter refuses;
// each has a summary of the same figure beside it.
func unlintable(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), "prometheus_") && strings.Contains(f.GetName(), "_histogram_")
}

// join puts the fleet's samples behind the collector's own of the same name.
func (e *exposition) join(own, fleet *dto.MetricFamily) *dto.MetricFamily {
	if own.GetType() != fleet.GetType() {
		e.clash.Add(float64(len(fleet.Metric)))
		return own
	}
	own.Metric = append(own.Metric, fleet.Metric...)
	return own
}

// printer encodes each family apart, so that one that cannot be encoded costs only itself.
type printer struct {
	e      *exposition
	w      io.Writer
	format expfmt.Format
	buf    bytes.Buffer
	err    error
}

func (p *printer) print(f *dto.MetricFamily) {
	if p.err != nil {
		return
	}
	p.buf.Reset()
	if err := expfmt.NewEncoder(&p.buf, p.format).Encode(f); err != nil {
		p.e.failed.Add(float64(len(f.Metric)))
		p.e.Logger.Error("encode metric family", "name", f.GetName(), "err", err)
		return
	}
	_, p.err = p.w.Write(p.buf.Bytes())
}

// close writes what ends the format: OpenMetrics has an end mark.
func (p *printer) close() {
	if c, ok := expfmt.NewEncoder(p.w, p.format).(expfmt.Closer); ok && p.err == nil {
		p.err = c.Close()
	}
}
