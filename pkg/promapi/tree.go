package promapi

import (
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type object = map[string]any

// tree is an expression as Prometheus' parse_query shows it.
func tree(node parser.Expr) any {
	switch n := node.(type) {
	case *parser.AggregateExpr:
		return object{
			"type": "aggregation", "op": n.Op.String(), "expr": tree(n.Expr), "param": tree(n.Param),
			"grouping": list(n.Grouping), "without": n.Without,
		}
	case *parser.BinaryExpr:
		return object{
			"type": "binaryExpr", "op": n.Op.String(), "lhs": tree(n.LHS), "rhs": tree(n.RHS),
			"matching": matching(n.VectorMatching), "bool": n.ReturnBool,
		}
	case *parser.Call:
		args := []any{}
		for _, arg := range n.Args {
			args = append(args, tree(arg))
		}
		f := object{"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType}
		return object{"type": "call", "func": f, "args": args}
	case *parser.MatrixSelector:
		vs, ok := n.VectorSelector.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		out := selector("matrixSelector", vs)
		out["range"], out["rangeExpr"] = n.Range.Milliseconds(), nil
		return out
	case *parser.VectorSelector:
		return selector("vectorSelector", n)
	case *parser.SubqueryExpr:
		return object{
			"type": "subquery", "expr": tree(n.Expr), "range": n.Range.Milliseconds(), "rangeExpr": nil,
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": nil, "step": n.Step.Milliseconds(), "stepExpr": nil,
			"timestamp": n.Timestamp, "startOrEnd": edge(n.StartOrEnd),
		}
	case *parser.NumberLiteral:
		return object{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64)}
	case *parser.StringLiteral:
		return object{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return object{"type": "parenExpr", "expr": tree(n.Expr)}
	case *parser.UnaryExpr:
		return object{"type": "unaryExpr", "op": n.Op.String(), "expr": tree(n.Expr)}
	}
	return nil // no expression; expressions of durations are an experiment that our parser refuses
}

func matching(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return object{
		"card": m.Card.String(), "labels": list(m.MatchingLabels), "on": m.On, "include": list(m.Include),
		"fillValues": map[string]*float64{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

func selector(kind string, vs *parser.VectorSelector) object {
	return object{
		"type": kind, "name": vs.Name, "offset": vs.OriginalOffset.Milliseconds(), "offsetExpr": nil, "matchers": matcherTrees(vs.LabelMatchers),
		"timestamp": vs.Timestamp, "startOrEnd": edge(vs.StartOrEnd), "anchored": vs.Anchored, "smoothed": vs.Smoothed,
	}
}

func matcherTrees(in []*labels.Matcher) []object {
	out := []object{}
	for _, m := range in {
		out = append(out, object{"name": m.Name, "value": m.Value, "type": m.Type.String()})
	}
	return out
}

func edge(i parser.ItemType) any {
	if i == 0 {
		return nil
	}
	return i.String()
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
