package contract

import "time"

// Requests says how soon a change request (需求变更) is answered: with an opinion and a method, both (R18).
type Requests struct {
	Reply    time.Duration   `yaml:"reply" json:"reply"`
	Workdays bool            `yaml:"workdays" json:"workdays,omitempty"` // only hours of working days count
	Remind   []time.Duration `yaml:"remind" json:"remind,omitempty"`     // after the receipt
}

// Request is what the clock of a change request depends on.
type Request struct {
	Received time.Time `json:"received"`
	Opinion  time.Time `json:"opinion,omitzero"` // 处理反馈意见
	Method   time.Time `json:"method,omitzero"`  // 处理办法
}

// RequestClock is how a request stands at a moment.
type RequestClock struct {
	Due         time.Time
	Answered    time.Time // when the later of opinion and method was given; zero: not yet
	Used        time.Duration
	Late        bool
	Reminders   []time.Time // none after the answer
	Provisional bool        // days of a year whose holidays nobody has announced are in it
}

// Clock reads a request at now. Without a calendar all hours count.
func (r Requests) Clock(w *Working, q Request, now time.Time) RequestClock {
	workdays := r.Workdays && w != nil
	add, measure := time.Time.Add, func(from, to time.Time) time.Duration { return max(to.Sub(from), 0) }
	if workdays {
		all := w.AllDay()
		add, measure = all.Add, all.Between
	}
	c := RequestClock{Due: add(q.Received, r.Reply)}
	end := now
	if !q.Opinion.IsZero() && !q.Method.IsZero() && !latest(q.Opinion, q.Method).After(now) {
		c.Answered = latest(q.Opinion, q.Method)
		end = c.Answered
	}
	c.Used = measure(q.Received, end)
	c.Late = c.Used > r.Reply
	for _, after := range r.Remind {
		if at := add(q.Received, after); c.Answered.IsZero() || !at.After(c.Answered) {
			c.Reminders = append(c.Reminders, at)
		}
	}
	c.Provisional = workdays && !w.Known(q.Received, latest(c.Due, end))
	return c
}

// Validate wants an answer after some time, and reminders before it.
func (r Requests) Validate(fail func(path, format string, args ...any)) {
	if r.Reply <= 0 || r.Reply > 366*24*time.Hour {
		fail("reply", "%v: want a time above zero, as 24h", r.Reply)
	}
	for _, d := range r.Remind {
		if d <= 0 || d >= r.Reply {
			fail("remind", "%v is not before the answer is due (%v)", d, r.Reply)
		}
	}
}
