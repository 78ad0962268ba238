package promapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// Selectors of both kinds, with every kind of matcher.
var (
	counterNames = []string{
		`cpu_seconds_total`, `cpu_seconds_total{mode="user",instance!="host-3"}`, `network_receive_bytes_total{device=~"eth.*"}`,
		`context_switches_total{instance=~"host-[1256]"}`, `disk_written_bytes_total`, `{__name__=~"disk_.*ms_total",instance!~"host-[04]"}`,
	}
	gaugeNames = []string{
		`load1`, `memory_bytes{state=~"free|used"}`, `probe_duration_seconds`, `filesystem_bytes{state!="total"}`,
		`{__name__=~"procs_.+",instance="host-2"}`, `procs_running{nothing=""}`,
	}
	ranges    = []string{"1m", "5m", "7m30s", "20m"}
	modifiers = []string{"", " offset 3m", " @ end()", " offset -2m"}
)

// newer are the functions that Prometheus 2.42 does not have, or that mean something else since; histograms that are
// native are another test's concern.
var newer = []string{
	"double_exponential_smoothing", "holt_winters", "sort_by_label", "sort_by_label_desc", "mad_over_time", "info", "limitk", "limit_ratio",
	"ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time", "first_over_time", "step", "range",
	"start", "end", "min_of", "max_of", "histogram_avg", "histogram_count", "histogram_sum", "histogram_fraction", "histogram_stddev",
	"histogram_stdvar", "histogram_quantiles", "max", "min",
}

// calls are the functions with arguments to their taste: %[1]s is a selector, %[2]s a range, %[3]s a modifier.
var calls = map[string][]string{
	"overCounters": {
		"rate(%[1]s[%[2]s]%[3]s)", "increase(%[1]s[%[2]s]%[3]s)", "irate(%[1]s[%[2]s]%[3]s)", "resets(%[1]s[%[2]s]%[3]s)",
	},
	"overGauges": {
		"delta(%[1]s[%[2]s]%[3]s)", "idelta(%[1]s[%[2]s]%[3]s)", "deriv(%[1]s[%[2]s]%[3]s)", "predict_linear(%[1]s[%[2]s]%[3]s, 600)",
		"changes(%[1]s[%[2]s]%[3]s)", "avg_over_time(%[1]s[%[2]s]%[3]s)", "min_over_time(%[1]s[%[2]s]%[3]s)", "max_over_time(%[1]s[%[2]s]%[3]s)",
		"sum_over_time(%[1]s[%[2]s]%[3]s)", "count_over_time(%[1]s[%[2]s]%[3]s)", "stddev_over_time(%[1]s[%[2]s]%[3]s)",
		"stdvar_over_time(%[1]s[%[2]s]%[3]s)", "last_over_time(%[1]s[%[2]s]%[3]s)", "present_over_time(%[1]s[%[2]s]%[3]s)",
		"quantile_over_time(0.9, %[1]s[%[2]s]%[3]s)", "absent_over_time(%[1]s[%[2]s]%[3]s)",
	},
	"ofInstants": {
		"abs(%[1]s%[3]s)", "ceil(%[1]s%[3]s)", "floor(%[1]s%[3]s)", "round(%[1]s%[3]s, 0.3)", "exp(load1%[3]s)", "ln(%[1]s%[3]s)", "log2(%[1]s%[3]s)",
		"log10(%[1]s%[3]s)", "sqrt(%[1]s%[3]s)", "sgn(%[1]s%[3]s - 1)", "clamp(%[1]s%[3]s, 0.2, 2)", "clamp_min(%[1]s%[3]s, 1)", "clamp_max(%[1]s%[3]s, 1)",
		"absent(%[1]s%[3]s)", "timestamp(%[1]s%[3]s)", "sort(%[1]s%[3]s)", "sort_desc(%[1]s%[3]s)",
		`label_replace(%[1]s%[3]s, "host", "$1", "instance", "host-(.*)")`, `label_join(%[1]s%[3]s, "both", "/", "job", "instance")`,
		"day_of_month(%[1]s%[3]s)", "day_of_week(%[1]s%[3]s)", "day_of_year(%[1]s%[3]s)", "days_in_month(%[1]s%[3]s)", "hour(%[1]s%[3]s)",
		"minute(%[1]s%[3]s)", "month(%[1]s%[3]s)", "year(%[1]s%[3]s)",
		"sin(%[1]s%[3]s)", "cos(load1%[3]s)", "tan(load1%[3]s)", "asin(load1%[3]s / 10)", "acos(load1%[3]s / 10)", "atan(%[1]s%[3]s)", "sinh(load1%[3]s)", "cosh(load1%[3]s)",
		"tanh(%[1]s%[3]s)", "asinh(%[1]s%[3]s)", "acosh(%[1]s%[3]s + 1)", "atanh(load1%[3]s / 100)", "deg(%[1]s%[3]s)", "rad(%[1]s%[3]s)",
	},
}

// aggregations wrap an expression, so that what they add up in another order stays comparable.
var aggregations = []string{
	"sum(%s)", "sum by (instance) (%s)", "sum without (instance, agent) (%s)", "avg by (job) (%s)", "min by (instance) (%s)", "max(%s)", "count by (instance) (%s)",
	"stddev by (job) (%s)", "stdvar(%s)", "group by (instance) (%s)", "topk by (job) (2, %s)", "bottomk(3, %s)", "quantile by (job) (0.5, %s)", "quantile(0.9, %s)",
	`count_values("v", round(%s))`,
}

var loose = []string{
	"1", "1 + 2 * 3 ^ 2 % 5", "-1.5e-9", "0x1f", "Inf", "-Inf", "NaN", "1e30", `"a text"`, "time()", "pi()", "vector(2.5)", "scalar(load1{instance=\"host-0\"})", "minute()",
	"vector(1) and vector(2)", "load1 > 1", "load1 > bool 1", "load1 == bool load1", "1 < bool 2", "load1 - load5", "-load1", "load1 != load1", "load1 <= 2", "load1 >= bool load15",
	"load1 + on (instance) load5", "load1 * ignoring (agent) load15", "load1 / on (instance) group_left () procs_running",
	`memory_bytes{state="free"} / on (instance) group_left () memory_bytes{state="total"}`,
	`memory_bytes / ignoring (state) group_left () memory_bytes{state="total"}`, `sum by (instance) (memory_bytes) unless load1 > 2`,
	"load1 and on (instance) probe_success == 1", "load1 or load5", `load1{instance="host-1"} or load1{instance="host-2"}`, "load1 unless on (instance) (load5 > 1)",
	"sum(load1) atan2 sum(load5)", "load1 ^ 2", "10 % load1", "memory_bytes % 4096", "load1 % 0", "1 / (load1 - load1)",
	"histogram_quantile(0.9, sum by (le) (rate(request_seconds_bucket[5m])))", "histogram_quantile(0.5, request_seconds_bucket)",
	"histogram_quantile(0.99, rate(request_seconds_bucket[7m30s]))", "histogram_quantile(2, request_seconds_bucket)", "histogram_quantile(0.5, load1)",
	"rate(cpu_seconds_total[5m:30s])", "max_over_time(load1[10m:1m])", "avg_over_time(rate(cpu_seconds_total{mode=\"idle\"}[2m])[15m:45s])",
	"min_over_time((load1 > 1)[20m:90s] offset 4m)", "sum_over_time(vector(1)[10m:1m])", "max_over_time(sum(load1)[10m:30s] @ end())", "deriv(load1[10m:45s])",
	"quantile_over_time(0.5, (load1 - load5)[12m:30s])", "absent(nothing_of_that_name)", `absent(nothing{a="b",c=~"d"})`, "nothing_of_that_name", "absent_over_time(nothing[5m])",
	"load1 @ 0", "load1 offset 1d", "sum(load1 @ start()) + sum(load1 @ end())", "rate(cpu_seconds_total[5m] @ end()) - rate(cpu_seconds_total[5m] @ start())",
	`sum by (instance) ({__name__=~"load.*"})`, `count({instance="host-3"})`, `count by (__name__) ({instance=~"host-[36]"})`, `{job="node",mode="user"}`,
	`topk(5, rate(context_switches_total[5m]))`, `sum(rate(cpu_seconds_total{mode!="idle"}[5m])) by (instance) / sum(rate(cpu_seconds_total[5m])) by (instance)`,
	`100 * (1 - avg by (instance) (rate(cpu_seconds_total{mode="idle"}[5m])))`, `predict_linear(filesystem_bytes{state="free"}[30m], 4 * 3600) < 0`,
	`(filesystem_bytes{state="used"} / ignoring (state) filesystem_bytes{state="total"}) * 100`, `changes(probe_success[10m]) > 0`, `avg_over_time(probe_success[30m]) * 100`,
	`count by (instance) (count by (instance, mode) (cpu_seconds_total))`, `label_replace(load1, "instance", "x", "instance", ".*host-0")`, `sum(load1) or vector(0)`,
}

// questions are all of them: every function over every selector in turn, and every aggregation over some of them.
func questions() (out []string) {
	n := 0
	pick := func(from []string) string { n++; return from[n*7%len(from)] }
	for _, kind := range []string{"overCounters", "overGauges", "ofInstants"} {
		selectors := gaugeNames
		if kind == "overCounters" {
			selectors = counterNames
		}
		for _, call := range calls[kind] {
			for i, s := range selectors {
				if kind == "ofInstants" && i%2 == n%2 {
					continue // half of them each; they are many
				}
				for _, r := range []string{ranges[i%len(ranges)], pick(ranges)} {
					mod := pick(modifiers)
					if strings.HasPrefix(call, "predict_linear") {
						mod = "" // Prometheus 2.42 gets it wrong under @
					}
					out = append(out, fmt.Sprintf(call, s, r, mod))
				}
			}
		}
	}
	for _, agg := range aggregations {
		for _, e := range []string{"load1", "rate(cpu_seconds_total[5m])", `memory_bytes{state="free"}`, "probe_success", "disk_io_ms_total - disk_read_ms_total"} {
			if strings.Contains(agg, "topk") || strings.Contains(agg, "bottomk") {
				e = "rate(context_switches_total[7m30s])" // which of equals they take is nobody's promise
			}
			out = append(out, fmt.Sprintf(agg, e))
		}
	}
	out = append(out, loose...)
	slices.Sort(out)
	return slices.Compact(out)
}

// TestEveryFunctionIsAsked: a function that a new version of the engine brings must be asked for, or named as newer.
func TestEveryFunctionIsAsked(t *testing.T) {
	asked := map[string]bool{}
	for _, q := range questions() {
		expr, err := promParser.ParseExpr(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if c, ok := n.(*parser.Call); ok {
				asked[c.Func.Name] = true
			}
			return nil
		})
	}
	for name, f := range parser.Functions {
		if !asked[name] && !f.Experimental && !slices.Contains(newer, name) {
			t.Errorf("nobody asks for %s: give it a question, or name it among the newer ones", name)
		}
	}
}
