package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
)

// fakeGateway takes messages over HTTP in memory, where half an hour passes at once.
type fakeGateway struct{ submit, report string } // what it answers; "" hangs up

func (g *fakeGateway) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		in := bufio.NewReader(there)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body := g.submit
			if r.URL.Path == "/report" {
				body = g.report
			}
			if body == "" {
				return
			}
			fmt.Fprintf(there, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}()
	return here, nil
}

func messageSpec() check.Spec {
	spec := flowSpec("http://192.0.2.1")
	expect := func(want string) []check.FlowExpect {
		return []check.FlowExpect{{JSON: "code", Equals: &want, Trouble: check.Partial}}
	}
	spec.Flow.Steps = []check.FlowStep{
		{Name: "submit", Request: check.FlowRequest{URL: "/submit"}, Critical: true, Message: check.MessageSubmit, Throttle: "busy", Expect: expect("ok")},
		{Name: "report", Request: check.FlowRequest{URL: "/report"}, Critical: true, Message: check.MessageReport, Trouble: check.Partial, Expect: expect("delivered")},
	}
	return spec
}

const (
	taking, turnedDown, busy = `{"code":"ok"}`, `{"code":"no"}`, `{"code":"busy"}`
	delivered, lost          = `{"code":"delivered"}`, `{"code":"lost"}`
)

// What a failure of a message over HTTP means depends on those before it, as it does in a session (M4, M5 of DOMAIN 1.3), and
// a restart forgets none of them.
func TestMessagesOverHTTPWeighMoreWithTime(t *testing.T) {
	type answer struct {
		after time.Duration
		g     fakeGateway
	}
	no, good, late, none := fakeGateway{submit: turnedDown}, fakeGateway{taking, delivered}, fakeGateway{submit: busy}, fakeGateway{taking, lost}
	for name, tc := range map[string]struct {
		answers []answer
		outcome check.Outcome
		trouble check.Trouble
	}{
		"refused":                       {[]answer{{0, no}}, check.Fail, check.Partial},
		"refused for 14 min":            {[]answer{{0, no}, {14 * time.Minute, no}}, check.Fail, check.Partial},
		"refused for 15 min":            {[]answer{{0, no}, {14 * time.Minute, no}, {time.Minute, no}}, check.Fail, check.Down},
		"one taken between":             {[]answer{{0, no}, {14 * time.Minute, good}, {time.Minute, no}}, check.Fail, check.Partial},
		"taken after an hour":           {[]answer{{0, no}, {time.Hour, good}}, check.OK, ""},
		"no answer at all":              {[]answer{{0, fakeGateway{}}}, check.Fail, check.Down},
		"flow control":                  {[]answer{{0, late}}, check.Unknown, ""},
		"flow control for 29 min":       {[]answer{{0, late}, {29 * time.Minute, late}}, check.Unknown, ""},
		"flow control for 30 min":       {[]answer{{0, late}, {30 * time.Minute, late}}, check.Fail, check.Partial},
		"a report missing":              {[]answer{{0, none}}, check.Fail, check.Partial},
		"three missing of four reports": {[]answer{{0, none}, {0, good}, {0, none}, {0, none}}, check.Fail, check.Down},
		"three missing long ago":        {slices.Concat(slices.Repeat([]answer{{0, none}}, 3), slices.Repeat([]answer{{0, good}}, 5), []answer{{0, none}}), check.Fail, check.Partial},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{State: t.TempDir()}
			synctest.Test(t, func(t *testing.T) {
				var a check.Attempt
				for _, answer := range tc.answers {
					time.Sleep(answer.after)
					o.Dial = answer.g.dial
					a = newTestProber(t, messageSpec(), o).attempt(t.Context(), true) // as after a restart
				}
				synctest.Wait()
				if a.Outcome != tc.outcome || a.Trouble != tc.trouble {
					t.Errorf("%s %s %q: %s, want %s %q", a.Outcome, a.Class, a.Trouble, a.Reason, tc.outcome, tc.trouble)
				}
			})
		})
	}
}

// One bad answer to the question for the balance is no news: it is asked once more.
func TestBalanceIsAskedTwice(t *testing.T) {
	var asked atomic.Int32
	bad := int32(1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= bad {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, `{"left":70}`)
	}))
	t.Cleanup(server.Close)
	q, err := newSMSQuery(patient(server.URL), Options{}.env(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, bad := q.numbers(t.Context(), time.Minute, "left"); bad != nil || n[0] != 70 || asked.Load() != 2 {
		t.Errorf("%v %+v after %d tries", n, bad, asked.Load())
	}
	asked.Store(0)
	bad = 2
	if _, bad := q.numbers(t.Context(), time.Minute, "left"); bad == nil || asked.Load() != 2 {
		t.Errorf("%+v after %d tries", bad, asked.Load())
	}
}
