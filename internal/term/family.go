package term

import (
	"slices"
	"strings"
	"time"

	"imx"
)

// family is steps that differ in their last word alone ("fetch list bookworm", "fetch list
// bookworm-security") and ended well one after the other: together they are worth one line.
type family struct {
	name    string // "fetch list"
	members []*step
}

// familyOf returns the family of a step that ended well, "" where it has none.
func familyOf(s *step) string {
	words := strings.Fields(s.Step)
	if len(words) != 3 || s.Status != imx.StepDone && s.Status != imx.StepCached {
		return ""
	}
	return words[0] + " " + words[1]
}

func (f *family) takes(s *step) bool { return f != nil && familyOf(s) == f.name }

func (f *family) add(s *step) { f.members = append(f.members, s) }

// step sums the members up as one step. What single ones had to say is left out, unless there is but one.
func (f *family) step() *step {
	first := f.members[0]
	if len(f.members) == 1 {
		return first
	}
	sum := *first
	sum.Step, sum.Status = f.name+"s", imx.StepCached
	if strings.HasSuffix(f.name, "s") {
		sum.Step = f.name
	}
	sum.Done, sum.Total, sum.Unit, sum.Seconds = 0, 0, first.Unit, f.busy().Seconds()
	var names []string
	cached := 0
	for _, m := range f.members {
		if name := m.Step[strings.LastIndexByte(m.Step, ' ')+1:]; !slices.Contains(names, name) {
			names = append(names, name)
		}
		if m.Status == imx.StepCached {
			cached++
			continue
		}
		sum.Status = imx.StepDone
		if sum.Unit == "" || m.Unit == sum.Unit {
			sum.Unit = m.Unit
			sum.Done += m.Done
		}
	}
	slices.Sort(names)
	sum.Message = strings.Join(names, ", ")
	if cached > 0 && cached < len(f.members) {
		sum.Message += " (" + Number(int64(cached)) + " cached)"
	}
	return &sum
}

// busy is for how long at least one of the members ran.
func (f *family) busy() time.Duration {
	members := slices.SortedFunc(slices.Values(f.members), func(a, b *step) int { return a.began.Compare(b.began) })
	var sum time.Duration
	end := members[0].began
	for _, m := range members {
		begin, ended := m.began, m.began.Add(seconds(m.Seconds))
		if begin.Before(end) {
			begin = end
		}
		if ended.After(begin) {
			sum += ended.Sub(begin)
			end = ended
		}
	}
	return sum
}
