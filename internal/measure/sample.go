package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"imx"
	"imx/internal/metric"
)

// The counters that are kept of an instance.
const (
	requests = iota
	failures
	seconds
	timed
	kinds
)

// sample is what an instance's counters were at one reading: by series.
type sample [kinds]map[string]float64

// MaxSeries bounds how many of an instance's series are counted.
const MaxSeries = 10_000

// rule is an imx.Measure whose selectors are parsed.
type rule [kinds]metric.Selector

// parseRule reads the selectors of a measure. A duration is of a histogram or summary by its base name.
func parseRule(m imx.Measure) (rule, error) {
	var r rule
	var err error
	if r[requests], err = metric.Parse(m.Requests); err != nil {
		return rule{}, err
	}
	if r[failures], err = metric.Parse(m.Errors); err != nil || m.Seconds == "" {
		return r, err
	}
	base, err := metric.Parse(m.Seconds)
	r[seconds], r[timed] = base, base
	r[seconds].Name += "_sum"
	r[timed].Name += "_count"
	return r, err
}

// read picks a rule's series from metrics in Prometheus' text format.
func (r rule) read(text []byte) (sample, error) {
	families, err := parse(text)
	if err != nil {
		return sample{}, fmt.Errorf("what it answers isn't Prometheus' text format: %w", err)
	}
	s := sample{}
	for k := range s {
		s[k] = map[string]float64{}
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			if err := r.take(s, name, m); err != nil {
				return sample{}, err
			}
		}
	}
	return s, nil
}

// parse reads a text that whoever is in an instance wrote. The parser panics at some that are malformed ("# HELP a b" before "{}"): nothing that
// an instance says may end the server.
func parse(text []byte) (families map[string]*dto.MetricFamily, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it is malformed")
		}
	}()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(io.MultiReader(bytes.NewReader(text), strings.NewReader("\n")))
}

// take adds a metric's values to the counters that select them.
func (r rule) take(s sample, name string, m *dto.Metric) error {
	for suffix, value := range values(m) {
		for k, selector := range r {
			if selector.Name == "" || !selector.Matches(name+suffix, label(m)) {
				continue
			}
			if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
				return fmt.Errorf("%s%s is %v, which no counter is", name, suffix, value) //nolint:err113 // its words are its meaning
			}
			s[k][series(name+suffix, m)] = value
			if len(s[k]) > MaxSeries {
				return fmt.Errorf("it has more than %d series of %s", MaxSeries, selector) //nolint:err113 // its words are its meaning
			}
		}
	}
	return nil
}

// values are a metric's numbers by what its name ends with for each.
func values(m *dto.Metric) map[string]float64 {
	switch {
	case m.GetHistogram() != nil:
		return map[string]float64{"_sum": m.GetHistogram().GetSampleSum(), "_count": float64(m.GetHistogram().GetSampleCount())}
	case m.GetSummary() != nil:
		return map[string]float64{"_sum": m.GetSummary().GetSampleSum(), "_count": float64(m.GetSummary().GetSampleCount())}
	case m.GetCounter() != nil:
		return map[string]float64{"": m.GetCounter().GetValue()}
	case m.GetGauge() != nil: // some programs call a counter that
		return map[string]float64{"": m.GetGauge().GetValue()}
	}
	return map[string]float64{"": m.GetUntyped().GetValue()}
}

func label(m *dto.Metric) func(string) string {
	return func(name string) string {
		for _, l := range m.GetLabel() {
			if l.GetName() == name {
				return l.GetValue()
			}
		}
		return ""
	}
}

// series names a series. Its labels come in the order in which the program writes them, which stays.
func series(name string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, ",%s=%q", l.GetName(), l.GetValue())
	}
	return b.String()
}
