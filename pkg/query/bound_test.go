package query

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// TestRoom: the engine makes room for every step of every series, also where there is nothing to put into it.
func TestRoom(t *testing.T) {
	for name, tc := range map[string]struct {
		series int
		hints  *storage.SelectHints
		refuse bool
	}{
		"no hints":           {1e9, nil, false},
		"an instant":         {1e9, &storage.SelectHints{End: 1000}, false},
		"a dashboard":        {1000, &storage.SelectHints{End: 11_000_000, Step: 1000}, false},
		"many, few steps":    {50_000, &storage.SelectHints{End: 240_000, Step: 1000}, false},
		"many, many steps":   {50_000, &storage.SelectHints{End: 11_000_000, Step: 1000}, true},
		"a range is no step": {50_000, &storage.SelectHints{End: 11_000_000, Range: 10_900_000, Step: 1000}, false},
		"all of time":        {1, &storage.SelectHints{End: 1 << 60, Step: 1}, true},
	} {
		err := checkRoom(tc.series, tc.hints, 5_000_000)
		var tooMany promql.ErrTooManySamples
		if errors.As(err, &tooMany) != tc.refuse {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSteps: so does it for every step of a subquery.
func TestSteps(t *testing.T) {
	e := New(Options{Store: opened(t)})
	for expr, refuse := range map[string]bool{
		"max_over_time(up[1h:1s])": false, "max_over_time(up[90d:15s])": false, "max_over_time(up[100y:1ms])": true, "up[10y]": false,
		"sum_over_time(max_over_time(up[1m:1ms])[1d:1h])": true, "max_over_time(up[20y])": false, "max_over_time(up[20y:])": true, "sum(": false,
	} {
		var tooMany promql.ErrTooManySamples
		a, err := e.Open(t.Context(), Ask{Expr: expr, Start: start, End: start.Add(time.Hour), Step: time.Hour})
		if err == nil {
			a.Close()
		}
		if errors.As(err, &tooMany) != refuse {
			t.Errorf("%s: %v", expr, err)
		}
	}
}
