package api

import (
	"context"
	"errors"
	"time"

	"xunjian/pkg/heartbeat"
)

// Hearts tell receivers outside that the collector works.
type Hearts interface {
	States() []heartbeat.State
	Now(ctx context.Context, receiver, by string) ([]heartbeat.State, error)
}

// Heart is how the heartbeat of one receiver does.
type Heart struct {
	Receiver string    `json:"receiver"`
	Kind     string    `json:"kind"`
	Every    float64   `json:"every_seconds"`
	State    string    `json:"state"`             // taken, refused, withheld (the collector is not well), waiting (none was due yet)
	At       time.Time `json:"at,omitzero"`       // of the last beat that was due
	Taken    time.Time `json:"taken_at,omitzero"` // when the receiver last took one since the start
	Seconds  float64   `json:"seconds,omitempty"` // that the last one took
	Error    string    `json:"error,omitempty"`   // why it was refused or withheld
}

// HeartList is the answer to GET heartbeat and POST heartbeat/send.
type HeartList struct {
	Receivers []Heart `json:"receivers"`
}

// Beat asks for a heartbeat out of turn.
type Beat struct {
	Act
	Receiver string `json:"receiver,omitempty"` // empty: all
}

func (s *server) getHearts(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Hearts == nil {
		return answer{}, errNotRunning
	}
	return hearts(s.Hearts.States()), nil
}

// sendBeat beats once and tells what each receiver answered: a refusal is a finding and no error.
func (s *server) sendBeat(c *call) (answer, error) {
	var in Beat
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Hearts == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, in.Act)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), testWait)
	defer cancel()
	states, err := s.Hearts.Now(ctx, in.Receiver, a.Person)
	if errors.Is(err, heartbeat.ErrUnknown) {
		return answer{}, invalid("receiver", "receiver")
	}
	if err != nil {
		return answer{}, err
	}
	return hearts(states), nil
}

func hearts(states []heartbeat.State) answer {
	out := HeartList{Receivers: []Heart{}}
	for _, s := range states {
		out.Receivers = append(out.Receivers, Heart{
			Receiver: s.Name, Kind: s.Kind, Every: s.Every.Seconds(), State: s.Word(), At: s.At.UTC(), Taken: s.Taken.UTC(), Seconds: s.Took.Seconds(), Error: s.Error,
		})
	}
	return answer{json: out}
}
