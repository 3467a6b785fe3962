package measure_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"imx"
	"imx/internal/measure"
)

func rule() imx.Measure {
	return imx.Measure{
		Port: "http", Path: "/metrics", Requests: `requests_total`, Errors: `requests_total{code=~"5.."}`, Seconds: `took{handler="/"}`, AtLeast: 10,
	}
}

func TestWhatSelectorsTakeIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want [4]float64
	}{
		"nothing":           {"", [4]float64{}},
		"another's":         {"other 7\n", [4]float64{}},
		"a bare counter":    {"requests_total 7", [4]float64{7}},
		"with a time":       {"requests_total 7 1700000000000\n", [4]float64{7}},
		"of several labels": {"# TYPE requests_total counter\nrequests_total{code=\"200\",a=\"x\"} 5\nrequests_total{code=\"200\",a=\"y\"} 4\nrequests_total{code=\"503\"} 2\n", [4]float64{11, 2}},
		"a gauge":           {"# TYPE requests_total gauge\nrequests_total 7\n", [4]float64{7}},
		"a histogram": {
			"# TYPE took histogram\ntook_bucket{handler=\"/\",le=\"1\"} 3\ntook_bucket{handler=\"/\",le=\"+Inf\"} 4\ntook_sum{handler=\"/\"} 2.5\ntook_count{handler=\"/\"} 4\n",
			[4]float64{0, 0, 2.5, 4},
		},
		"a summary, of which one label is asked": {
			"# TYPE took summary\ntook{handler=\"/\",quantile=\"0.5\"} 1\ntook_sum{handler=\"/\"} 3\ntook_count{handler=\"/\"} 6\ntook_sum{handler=\"/x\"} 9\ntook_count{handler=\"/x\"} 9\n",
			[4]float64{0, 0, 3, 6},
		},
		"a histogram without a type": {"took_sum{handler=\"/\"} 3\ntook_count{handler=\"/\"} 6\n", [4]float64{0, 0, 3, 6}},
	} {
		if got, err := measure.Read(rule(), []byte(c.text)); err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestTheCountOfAHistogramCanBeTheRequests(t *testing.T) {
	m := imx.Measure{Requests: "took_count", Errors: `took_count{code="500"}`}
	text := "# TYPE took histogram\ntook_bucket{code=\"500\",le=\"+Inf\"} 4\ntook_sum{code=\"500\"} 2.5\ntook_count{code=\"500\"} 4\n"
	if got, err := measure.Read(m, []byte(text)); err != nil || got != [4]float64{4, 4} {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatIsNoCounterIsRefused(t *testing.T) {
	many := &strings.Builder{}
	for i := range measure.MaxSeries + 1 {
		fmt.Fprintf(many, "requests_total{i=\"%d\"} 1\n", i)
	}
	for text, want := range map[string]string{
		"<html>":              "isn't Prometheus' text format",
		"# HELP a b\n{}":      "isn't Prometheus' text format: it is malformed",
		"requests_total x\n":  "isn't Prometheus' text format",
		"requests_total NaN":  "requests_total is NaN, which no counter is",
		"requests_total -1\n": "requests_total is -1, which no counter is",
		"requests_total +Inf": "requests_total is +Inf, which no counter is",
		many.String():         "it has more than 10000 series of requests_total",
	} {
		if _, err := measure.Read(rule(), []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v; want %q", text, err, want)
		}
	}
	m := rule()
	m.Errors = "{"
	if _, err := measure.Read(m, nil); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a selector that is none: %v", err)
	}
}

func FuzzAnyMetricsAreReadOrRefused(f *testing.F) {
	f.Add([]byte("# TYPE took histogram\ntook_bucket{handler=\"/\",le=\"+Inf\"} 4\ntook_sum 2.5\nrequests_total{code=\"5\\\"\"} 1e3 5\n"))
	f.Add([]byte("# HELP requests_total x\n# TYPE requests_total summary\nrequests_total{quantile=\"NaN\"} 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := measure.Read(rule(), text)
		for _, v := range got {
			if err == nil && (math.IsNaN(v) || v < 0) {
				t.Errorf("%q is read as %v", text, got)
			}
		}
	})
}
