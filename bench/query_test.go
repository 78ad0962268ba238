package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var d []time.Duration
	for i := 100; i > 0; i-- {
		d = append(d, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.01: 1, 0.5: 50, 0.501: 51, 0.99: 99, 0.999: 100, 1: 100} {
		if got := quantile(d, q); got != want {
			t.Errorf("quantile %v of 1 to 100 is %d, want %d", q, got, want)
		}
	}
	if got := quantile([]time.Duration{3, 1, 2}, 0.5); got != 2 {
		t.Errorf("the middle of three is %d", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

func TestAnswersDiffer(t *testing.T) {
	a := answer{"x": {1: 100, 2: 0}}
	for name, c := range map[string]struct {
		b    answer
		same bool
	}{
		"same":          {answer{"x": {1: 100, 2: 0}}, true},
		"near":          {answer{"x": {1: 100.00005, 2: 0}}, true},
		"far":           {answer{"x": {1: 100.001, 2: 0}}, false},
		"not zero":      {answer{"x": {1: 100, 2: 1e-9}}, false},
		"other time":    {answer{"x": {1: 100, 3: 0}}, false},
		"a point less":  {answer{"x": {1: 100}}, false},
		"other series":  {answer{"y": {1: 100, 2: 0}}, false},
		"a series more": {answer{"x": {1: 100, 2: 0}, "y": {}}, false},
	} {
		if err := a.differs(c.b, 1e-6); (err == nil) != c.same {
			t.Errorf("%s: %v", name, err)
		}
	}
}
