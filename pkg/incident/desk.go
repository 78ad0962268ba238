package incident

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Options tunes New.
type Options struct {
	Services   []check.Service
	Terms      contract.Terms // zero: DefaultTerms
	Location   *time.Location // of the day in an incident's number; default Asia/Shanghai
	MaxOpen    int            // incidents that are not closed; default 10,000
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Filter narrows a list. Zero values do not narrow.
type Filter struct {
	State    string // open (the fault lasts), unclosed, closed, all; default all
	Level    contract.Level
	Service  string
	From, To time.Time // SLAStart in [From, To)
	Limit    int       // the newest so many; 0 is no limit
}

// Desk is where symptoms and people's acts become incidents. Safe for concurrent use; of two acts at once one wins.
type Desk struct{}

var errTodo = errors.New("not built yet")

func New(db *store.DB, o Options) (*Desk, error) { return nil, errTodo }
func (d *Desk) Observe(now time.Time, s symptom.Symptom) (Record, bool, error) {
	return Record{}, false, errTodo
}
func (d *Desk) Tick(now time.Time) error                             { return errTodo }
func (d *Desk) Next(now time.Time) (time.Time, bool)                 { return now, false }
func (d *Desk) Run(ctx context.Context) error                        { return errTodo }
func (d *Desk) Gap(from, to time.Time) error                         { return errTodo }
func (d *Desk) Open(a Act, o Opening) (Record, error)                { return Record{}, errTodo }
func (d *Desk) Report(id string, a Act, r Report) (Record, error)    { return Record{}, errTodo }
func (d *Desk) Ack(id string, a Act) (Record, error)                 { return Record{}, errTodo }
func (d *Desk) Note(id string, a Act) (Record, error)                { return Record{}, errTodo }
func (d *Desk) SetLevel(id string, a Act, g Grading) (Record, error) { return Record{}, errTodo }
func (d *Desk) Resolve(id string, a Act, c Account) (Record, error)  { return Record{}, errTodo }
func (d *Desk) Close(id string, a Act, c Account) (Record, error)    { return Record{}, errTodo }
func (d *Desk) Reopen(id string, a Act) (Record, error)              { return Record{}, errTodo }
func (d *Desk) Get(id string) (Record, []Event, error)               { return Record{}, nil, errTodo }
func (d *Desk) List(f Filter) ([]Record, error)                      { return nil, errTodo }
func (d *Desk) Subscribe() (<-chan struct{}, func())                 { return nil, func() {} }
func (d *Desk) Outbox(after uint64, limit int) ([]Page, error)       { return nil, errTodo }
