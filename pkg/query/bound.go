package query

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// checkText refuses what must not reach the parser.
func checkText(expr string) error {
	if len(expr) > maxExpr {
		return fmt.Errorf("%w: expression of %d bytes is longer than %d", ErrBad, len(expr), maxExpr)
	}
	return nil
}

// check refuses a query that must not be executed.
func (e *Engine) check(q promql.Query) error {
	stmt, ok := q.Statement().(*parser.EvalStmt)
	if !ok {
		return nil
	}
	return checkSteps(stmt.Expr, max(stmt.End.Sub(stmt.Start), 0), e.most)
}

// subqueryStep is that of subqueries that name none.
const subqueryStep = time.Minute

// checkSteps refuses an expression with a subquery of more steps than samples may be held: Prometheus' engine makes room for
// all of them before it counts the first, and a process without that room dies. span is the time over which the
// expression is evaluated.
func checkSteps(n parser.Node, span time.Duration, most int) error {
	if s, ok := n.(*parser.SubqueryExpr); ok {
		if span += s.Range; span < 0 { // more than 292 years
			return promql.ErrTooManySamples("subquery")
		}
		step := s.Step
		if step <= 0 {
			step = subqueryStep
		}
		if int64(span/step) > int64(most) {
			return promql.ErrTooManySamples("subquery")
		}
	}
	for child := range parser.ChildrenIter(n) {
		if err := checkSteps(child, span, most); err != nil {
			return err
		}
	}
	return nil
}

// roomFor is how many times the samples that a query may hold the engine may make room for: series are seldom there at
// every step.
const roomFor = 4

// checkRoom refuses a selection of so many series for so many steps that the room for all of them, which the engine makes
// although few samples may fill it, is far more than a query may hold.
func checkRoom(series int, h *storage.SelectHints, most int) error {
	if h == nil || h.Step <= 0 {
		return nil
	}
	if steps := (h.End-h.Start-h.Range)/h.Step + 1; steps > 0 && int64(series) > int64(roomFor*most)/steps {
		return promql.ErrTooManySamples("query execution")
	}
	return nil
}
