package flow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
)

// defaultTidy is the time of Finally, and maxEach how many elements a step goes through.
const (
	defaultTidy = 10 * time.Second
	maxEach     = 50
)

// cleanup is the name of the finding about what could not be removed.
const cleanup = "cleanup"

// Run makes the steps, then what is left of Finally whatever happened, ctx ended or not.
func (p *Program) Run(ctx context.Context, c Call) Run {
	s, r := p.begin(c)
	if r.Outcome == "" {
		if through := s.steps(ctx, p.steps, &r); through && c.Sweep && ctx.Err() == nil {
			r.Swept = s.tidy(ctx, p.sweep, &r)
		}
	}
	return s.end(ctx, r)
}

// Control makes the steps, and then those that ask for something wrong. It is ok when each of these was refused as it should
// be, and Unknown when it did not come to them: it says whether the flow can tell bad from good, not how the service is.
func (p *Program) Control(ctx context.Context, c Call) Run {
	s, r := p.begin(c)
	if r.Outcome != "" {
		return s.end(ctx, r)
	}
	s.steps(ctx, p.steps, &r)
	if r.Outcome != check.OK && r.Outcome != check.Slow {
		r.Outcome, r.Class, r.Trouble = check.Unknown, check.ClassSetup, ""
		r.Reason = "the control was not reached: " + r.Reason
		return s.end(ctx, r)
	}
	r.Steps, r.Findings = nil, nil
	s.steps(ctx, p.control, &r)
	switch {
	case r.Outcome == check.Fail:
		r.Trouble = check.Wrong
	case len(r.Steps) == 0: // for want of a variable
		r.Outcome, r.Class, r.Reason = check.Unknown, check.ClassSetup, "the control asked nothing: what it needs was not extracted"
	}
	return s.end(ctx, r)
}

// HasControl says whether there is a control.
func (p *Program) HasControl() bool { return len(p.control) > 0 }

// begin works the variables out. On a fault the run's Outcome is set.
func (p *Program) begin(c Call) (*session, Run) {
	jar, _ := cookiejar.New(nil) // never fails
	s := &session{program: p, call: c, jar: jar, scope: newScope(c.Secrets), phases: map[string]time.Duration{}}
	r := Run{Attempt: check.Attempt{Start: time.Now()}}
	err := s.scope.set("target", value{text: strings.TrimSuffix(p.base.String(), "/")})
	for _, v := range p.vars {
		if err != nil {
			break
		}
		var worked value
		if worked, err = s.scope.work(v.text); err == nil {
			err = s.scope.set(v.name, worked)
		}
		if err != nil {
			err = fmt.Errorf("vars.%s: %w", v.name, err)
		}
	}
	if err != nil {
		r.Outcome, r.Class, r.Reason = check.Unknown, check.ClassSetup, err.Error()
	}
	return s, r
}

// end cleans up and masks what is said. What was written is removed even when the time is over, in time of its own.
func (s *session) end(ctx context.Context, r Run) Run {
	r.Duration = time.Since(r.Start)
	limit := s.call.Tidy
	if limit == 0 {
		limit = defaultTidy
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	s.tidy(own, s.program.finally, &r)
	for _, name := range []string{"resolve", "connect", "tls", "processing", "transfer"} {
		if d, ok := s.phases[name]; ok {
			r.Phases = append(r.Phases, check.Phase{Name: name, Duration: d})
		}
	}
	r.CertExpiry, r.Bytes, r.Status = s.expiry, s.bytes, s.status
	r.Vars = s.scope.plain()
	r.Reason = s.scope.mask.clip(r.Reason, 2*maxSeen)
	for i := range r.Steps {
		r.Steps[i].Reason = s.scope.mask.Hide(r.Steps[i].Reason)
	}
	for i := range r.Findings {
		r.Findings[i].Reason = s.scope.mask.Hide(r.Findings[i].Reason)
	}
	return r
}

// steps makes steps in order and grades the whole: the worst failure gives class, reason and trouble. It is false when a
// failure ended them.
func (s *session) steps(ctx context.Context, steps []*step, r *Run) bool {
	r.Outcome = check.OK
	for _, st := range steps {
		if !s.scope.knows(st.needs) {
			continue // what it needs was to come from a step that failed
		}
		result, bad := s.make(ctx, st, r)
		if bad != nil && bad.Trouble == check.Warning {
			result, bad = s.again(ctx, st, r, result, bad)
		}
		if bad != nil && bad.Trouble == check.Warning {
			r.Note(check.Finding{Name: st.Name, Level: "minor", Reason: titled(st, bad.Reason)})
			result.Outcome = check.Fail
			bad = nil
		} else if bad == nil && st.warns() {
			r.Note(check.Finding{Name: st.Name}) // ends what was told before
		}
		r.Steps = append(r.Steps, result)
		switch {
		case bad != nil:
			grade(r, st, bad)
			if st.Critical || bad.Outcome == check.Unknown || r.Refused {
				return false
			}
		case result.Outcome == check.Slow && r.Outcome == check.OK:
			r.Outcome, r.Reason = check.Slow, titled(st, result.Reason)
		}
	}
	return true
}

// rank orders troubles; of equal ones the first tells.
var rank = []check.Trouble{"", check.Warning, check.Partial, check.Unusable, check.Wrong, check.Down}

// grade takes the fault over unless a worse one is told already. What cannot be known beats nothing that failed.
func grade(r *Run, st *step, bad *Fault) {
	switch {
	case bad.Outcome == check.Unknown && r.Outcome == check.Fail,
		bad.Outcome == check.Fail && r.Outcome == check.Fail && slices.Index(rank, bad.Trouble) <= slices.Index(rank, r.Trouble):
		return
	}
	r.Outcome, r.Class, r.Trouble, r.Reason = bad.Outcome, bad.Class, bad.Trouble, titled(st, bad.Reason)
}

func titled(st *step, reason string) string { return st.Name + ": " + reason }

// Shortly is when what may have been one bad answer is asked again.
const Shortly = 300 * time.Millisecond

// again makes once more a step that failed and may be repeated without harm (RFC 9110 9.2.2). A round is asked again when it fails;
// of what is only told beside it, a warning or a clean-up, one bad answer would be news otherwise. What took all its time gets no more.
func (s *session) again(ctx context.Context, st *step, r *Run, result check.Step, bad *Fault) (check.Step, *Fault) {
	if bad == nil || bad.Outcome != check.Fail || bad.Class == check.ClassTimeout || !st.repeatable() || !Pause(ctx, Shortly) {
		return result, bad
	}
	return s.make(ctx, st, r)
}

// repeatable says that to ask twice does what asking once does. Of several elements some may be done already.
func (st *step) repeatable() bool {
	switch r := st.Request; {
	case st.Login, st.Message != "", len(st.each) > 0, r.URL == "":
		return false
	case r.Method == "":
		return r.Body == "" && r.JSON == "" && len(r.Form) == 0 && len(r.Files) == 0 && !r.Hidden
	default:
		return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}, r.Method)
	}
}

// make makes one step, for each element when it has several, and tells whoever follows the run.
func (s *session) make(ctx context.Context, st *step, r *Run) (check.Step, *Fault) {
	s.trace, s.status = nil, 0
	start := time.Now()
	bad := s.elements(ctx, st, r)
	result := check.Step{Name: st.Name, Duration: time.Since(start), Outcome: check.OK, Status: s.status}
	if bad != nil && bad.Trouble == "" && bad.Outcome == check.Fail {
		bad.Trouble = st.trouble()
	}
	if st.Message != "" && s.call.Weigh != nil {
		s.call.Weigh(st.FlowStep, bad)
	}
	switch {
	case bad != nil:
		result.Outcome, result.Class, result.Reason = bad.Outcome, bad.Class, s.scope.mask.clip(bad.Reason, 2*maxSeen)
	case st.Slow > 0 && result.Duration > st.Slow:
		result.Outcome = check.Slow
		result.Reason = fmt.Sprintf("took %v, slow from %v", result.Duration.Round(time.Millisecond), st.Slow)
	}
	s.tell(st, result)
	return result, bad
}

// trouble is what the step's failure means unless an assertion says otherwise.
func (st *step) trouble() check.Trouble {
	switch {
	case st.Trouble != "":
		return st.Trouble
	case st.Critical:
		return check.Down
	}
	return check.Partial
}

func (s *session) elements(ctx context.Context, st *step, r *Run) *Fault {
	if len(st.each) == 0 {
		return s.once(ctx, st, r)
	}
	list, err := s.scope.work(st.each)
	if err == nil && strings.TrimSpace(list.text) != "" {
		err = ValidJSON([]byte(list.text))
	}
	if err != nil {
		return blamed(fmt.Errorf("each: %w", err), true)
	}
	defer delete(s.scope.vars, "each")
	for i, e := range gjson.Parse(list.text).Array() {
		if i == maxEach {
			return nil // the next run goes on
		}
		s.scope.vars["each"] = value{e.String(), list.secret}
		if bad := s.once(ctx, st, r); bad != nil {
			return bad
		}
	}
	return nil
}

// once asks and judges, again and again while the step waits for something.
func (s *session) once(ctx context.Context, st *step, r *Run) *Fault {
	s.status = 0
	if st.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, st.Timeout)
		defer cancel()
	}
	for {
		pg, bad := s.ask(ctx, st)
		if st.Closed && unreachable(bad) {
			return nil
		}
		if bad == nil && pg != nil && matches(st.throttle, pg) {
			return notNow(fmt.Sprintf(" (%d): %s", pg.Status, s.seen(st.throttle.Find(pg.Body))))
		}
		if bad != nil || st.until == nil {
			return s.judged(ctx, st, pg, bad, r)
		}
		waiting := s.until(st, pg)
		if waiting == nil {
			return s.judged(ctx, st, pg, nil, r)
		}
		if !Pause(ctx, st.pause()) {
			bad := over(ctx, "wait")
			bad.Reason += ": " + waiting.Error()
			return bad
		}
	}
}

// unreachable says that there was no answer. A name that does not resolve shows nothing: it may be misspelt.
func unreachable(bad *Fault) bool {
	return bad != nil && bad.Outcome == check.Fail && (bad.Class == check.ClassConnect || bad.Class == check.ClassTimeout || bad.Class == check.ClassReset)
}

// until extracts first: what is waited for may be in it.
func (s *session) until(st *step, pg *page) error {
	for _, x := range st.extracts {
		_ = x.take(s.scope, pg, s.cookie) // it may come later; judged tells if it does not
	}
	return st.until.hold(s.scope, pg)
}

// ask is nil for a step that asks nothing.
func (s *session) ask(ctx context.Context, st *step) (*page, *Fault) {
	if len(st.url) == 0 {
		return nil, nil
	}
	req, err := s.request(st)
	if err != nil {
		return nil, blamed(err, s.fromAnswer(st))
	}
	pg, err := s.follow(ctx, st, req)
	var bad *Fault
	switch {
	case err == nil:
		s.page = pg
		return pg, nil
	case ctx.Err() != nil:
		bad = over(ctx, "ask")
	case !errors.As(err, &bad):
		bad = &Fault{Outcome: check.Fail, Class: check.ClassReset, Reason: err.Error()}
	}
	copied := *bad
	return nil, &copied
}

// fromAnswer says whether an answer had a part in what the step sends.
func (s *session) fromAnswer(st *step) bool {
	return st.Request.Hidden || slices.ContainsFunc(st.needs, func(n string) bool { return s.program.answers[n] })
}

// over is the fault of a step whose time is up, or whose run was called off.
func over(ctx context.Context, doing string) *Fault {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &Fault{Outcome: check.Fail, Class: check.ClassTimeout, Reason: doing + ": no answer in time"}
	}
	return &Fault{Outcome: check.Unknown, Class: check.ClassSetup, Reason: doing + ": called off"}
}

// Pause is false when ctx ends first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// warns says that a failure of the step may be a mere warning.
func (st *step) warns() bool {
	return st.Trouble == check.Warning || slices.ContainsFunc(st.Expect, func(e check.FlowExpect) bool { return e.Trouble == check.Warning })
}

// tidy makes the steps that remove things, as far as what they need is known. Their failure is a finding, and false.
func (s *session) tidy(ctx context.Context, steps []*step, r *Run) bool {
	var first *check.Finding
	made := 0
	for _, st := range steps {
		if !s.scope.knows(st.needs) {
			continue
		}
		made++
		inner := Run{}
		result, bad := s.make(ctx, st, &inner)
		result, bad = s.again(ctx, st, &inner, result, bad)
		r.Steps = append(r.Steps, result)
		if bad != nil && first == nil {
			first = &check.Finding{Name: cleanup, Level: "minor", Reason: titled(st, bad.Reason)}
		}
	}
	switch {
	case first != nil:
		r.Note(*first)
	case made > 0:
		r.Note(check.Finding{Name: cleanup, Reason: "what was written is removed"})
	}
	return first == nil
}
