// Package rule watches the stored series by Prometheus' alerting rules and tells what they find as symptoms.
package rule

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/config"
	"xunjian/pkg/symptom"
)

// Config names the rule files and how often groups without an interval of their own are evaluated.
type Config struct {
	Files    []string      `yaml:"files"` // files, globs or directories; none: the built-in rules
	Interval time.Duration `yaml:"interval"`
}

// DefaultConfig evaluates the built-in rules every 15 s.
func DefaultConfig() Config { return Config{Interval: 15 * time.Second} }

// Validate checks the keys only; Check reads the files.
func (c Config) Validate(fail config.Fail) {
	if c.Interval < time.Second || c.Interval > time.Hour {
		fail("interval", "%s is not between 1s and 1h", c.Interval)
	}
}

// Options are what a Manager stands on.
type Options struct {
	Files       []string      // files, globs or directories, in which *_test.yml are passed over; none: the built-in rules
	Interval    time.Duration // default 15 s
	Queryable   storage.Queryable
	Query       rules.QueryFunc
	Appendable  storage.AppendableV2 // keeps the series that rules make; nil: they are counted and dropped
	Sink        Sink
	ExternalURL string                    // for links in templates
	Steady      func(time.Time) time.Time // brings the times of evaluations to the clock of the samples; nil: they are of it
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Sink takes symptoms in the order in which they were found. On an error all of them are told again at the next
// evaluation, so it must bear repetition. While it works no other group is told; it must heed ctx.
type Sink func(ctx context.Context, found []symptom.Symptom) error

// After a restart `for` goes on where ALERTS_FOR_STATE says it was, if that is not too long ago. An alert of which less
// than the grace is left waits for the grace, so that what the agents kept back meanwhile can come in first.
const (
	outageTolerance = time.Hour
	forGrace        = time.Minute
)

// Manager evaluates rule files. The series that rules make (recordings, ALERTS) go to Options.Appendable, from which
// Prometheus' manager restores `for` at a start; what was told firing before is carried over by Adopt.
type Manager struct {
	o       Options
	url     *url.URL
	metrics *metrics
	prom    *rules.Metrics
	book    *book

	reloading sync.Mutex // held by the start and end of Run and by Reload
	set       *set
	running   *rules.Manager // nil while Run is not at work
}

// New loads the files; every fault in them is in the error.
func New(o Options) (*Manager, error) {
	if o.Interval <= 0 {
		o.Interval = DefaultConfig().Interval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	u, err := url.Parse(o.ExternalURL)
	if err != nil {
		return nil, fmt.Errorf("parse external url: %w", err)
	}
	s, err := load(o.Files)
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, url: u, metrics: newMetrics(o.Registerer), prom: rules.NewGroupMetrics(o.Registerer), set: s}
	if m.o.Appendable == nil {
		m.o.Appendable = discard{m.metrics.discarded}
	}
	m.book = newBook(bookOptions{Query: o.Query, Sink: o.Sink, Logger: o.Logger, Metrics: m.metrics})
	m.use(s)
	m.metrics.reloadOK.Set(1)
	return m, nil
}

// Run evaluates the groups until ctx is done.
func (m *Manager) Run(ctx context.Context) error {
	prom, err := m.start(ctx)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { defer close(done); prom.Run() }()
	<-ctx.Done()
	m.reloading.Lock()
	m.running = nil
	m.reloading.Unlock()
	prom.Stop()
	<-done
	return nil
}

func (m *Manager) start(ctx context.Context) (*rules.Manager, error) {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	prom := rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		ExternalURL:          m.url,
		QueryFunc:            m.o.Query,
		NotifyFunc:           func(context.Context, string, ...*rules.Alert) {}, // evaluated reads the alerts themselves
		Context:              ctx,
		AppendableV2:         m.o.Appendable,
		Queryable:            m.o.Queryable,
		OutageTolerance:      outageTolerance,
		ForGracePeriod:       forGrace,
		RestoreNewRuleGroups: true, // a reload may bring back what another took away
		Logger:               m.o.Logger,
		Metrics:              m.prom,
		GroupLoader:          loader{m},
		Parser:               promParser,
	})
	if err := m.update(prom); err != nil {
		return nil, err
	}
	m.running = prom
	return prom, nil
}

// Reload swaps in the rules of files (none: the built-in ones), or keeps the old ones and says all that is wrong with the new. Alerts of rules
// that stay as they are keep their state; what removed rules had told ends.
func (m *Manager) Reload(files []string) error {
	s, err := load(files)
	if err != nil {
		m.metrics.reloadOK.Set(0)
		return err
	}
	m.reloading.Lock()
	defer m.reloading.Unlock()
	old := m.set
	m.use(s)
	if m.running != nil {
		if err := m.update(m.running); err != nil {
			m.use(old)
			m.metrics.reloadOK.Set(0)
			return err
		}
	}
	m.metrics.reloadOK.Set(1)
	return nil
}

func (m *Manager) use(s *set) {
	m.set = s
	m.book.expect(s)
}

// Groups are the groups at work, in order of file and name; none while Run is not.
func (m *Manager) Groups() []*rules.Group {
	m.reloading.Lock()
	prom := m.running
	m.reloading.Unlock()
	if prom == nil {
		return nil
	}
	return prom.RuleGroups()
}

// Files are the rule files in use.
func (m *Manager) Files() []string {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	return slices.Clone(m.set.files)
}

func (m *Manager) update(prom *rules.Manager) error {
	if err := prom.Update(m.o.Interval, m.set.files, labels.EmptyLabels(), m.o.ExternalURL, m.evaluate); err != nil {
		return fmt.Errorf("update rules: %w", err)
	}
	return nil
}

// evaluate runs one group and tells what changed by it.
func (m *Manager) evaluate(ctx context.Context, g *rules.Group, at time.Time) {
	if m.o.Steady != nil {
		at = m.o.Steady(at)
	}
	rules.DefaultEvalIterationFunc(ctx, g, at)
	if ctx.Err() == nil {
		m.book.evaluated(ctx, g, at)
	}
}

// Adopt takes over symptoms that a former process told firing, so that they end when no rule finds them any more.
// It is to be called before Run.
func (m *Manager) Adopt(firing []symptom.Symptom) { m.book.adopt(firing) }
