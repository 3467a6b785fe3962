// Package policy says whether an image may run: it holds a plan and the evidence about its images against conditions written in Rego,
// imx's own and a user's. Values come in and a verdict goes out: it reads no evidence, asks no clock, and starts nothing.
package policy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/freeze"
)

// The environments that policies are shipped for. Any other has production's but for its reviews and for who signs commits.
const (
	Development = "development"
	Staging     = "staging"
	Production  = "production"
)

// MaxException is how long an exception may last: what is to be so for longer belongs into a policy.
const MaxException = 90 * 24 * time.Hour

const (
	scanAge    = imx.Duration(24 * time.Hour)
	maxReviews = 100
)

// Default is the policy of an environment that nobody gave one.
func Default(environment string) imx.Policy {
	p := imx.Policy{Environment: environment, Settings: imx.PolicySettings{ScanAge: scanAge, Denied: imx.DeniedShow}}
	switch environment {
	case Development:
		p.Settings.Dirty, p.Settings.Warn = true, []string{"scan"}
	case Production:
		p.Settings.Reviews, p.Settings.SignedSources = 1, true
	}
	return p
}

// Of returns the policy of an environment: that which it was given, or the default.
func Of(s *imx.State, environment string) imx.Policy {
	if p, ok := s.Policies[environment]; ok {
		return p
	}
	return Default(environment)
}

// Warned are the ids of the conditions that settings let only be shown, whatever is asked.
func Warned(s imx.PolicySettings) []string {
	ids := slices.Clone(s.Warn)
	if !s.KnownAuthor {
		ids = append(ids, "author")
	}
	return ids
}

// CheckEnvironment says what is wrong with an environment's name. The error is of kind Invalid.
func CheckEnvironment(name string) error {
	if regexp.MustCompile(`^[a-z][a-z0-9-]{0,29}$`).MatchString(name) {
		return nil
	}
	return imx.Errorf(imx.Invalid, "%q can't be the name of an environment", name).
		WithHint("at most 30 lower-case letters, digits and hyphens, a letter first: production")
}

// Environments are those that are known, sorted: those that policies are shipped for, and those that were ever given one.
func Environments(s *imx.State) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(s.Policies)), maps.Keys(s.PolicyChanges))
	all = append(all, Development, Staging, Production)
	slices.Sort(all)
	return slices.Compact(all)
}

// CheckKnown says that there is no environment by a name: nobody made it, so that it is most likely misspelled.
// Errors: as CheckEnvironment; NotFound, naming those that there are.
func CheckKnown(s *imx.State, name string) error {
	if err := CheckEnvironment(name); err != nil || slices.Contains(Environments(s), name) {
		return err
	}
	return imx.Errorf(imx.NotFound, "there is no environment %q; known are %s", name, strings.Join(Environments(s), ", ")).
		WithHint("imx policy set --new --environment %s makes it", name)
}

// Change says whether a data folder may be given another environment than it has.
type Change bool

// Settle returns which environment a data folder is for: the one that it has, unless another is wanted and may take its place. Of a folder
// without one it is the wanted one, Development for "".
// Errors: as CheckKnown; Conflict if another is wanted than it has.
func Settle(s *imx.State, wanted string, change Change) (string, error) {
	if wanted == "" || wanted == s.Environment {
		return cmp.Or(s.Environment, Development), nil
	}
	if err := CheckKnown(s, wanted); err != nil {
		return "", err
	}
	if s.Environment != "" && !bool(change) {
		return "", imx.Errorf(imx.Conflict, "the data folder is for the environment %s, and not for %s", s.Environment, wanted).
			WithHint("leave --environment out to go on as it is; with --change-environment what runs is judged by the policy of %s from now on", wanted)
	}
	return wanted, nil
}

// checkSettings says what is wrong with settings, warn aside.
func checkSettings(s imx.PolicySettings) error {
	if err := checkAfter(s); err != nil {
		return err
	}
	switch {
	case s.Reviews < 0 || s.Reviews > maxReviews:
		return imx.Errorf(imx.Invalid, "%d reviews can't be asked for: 0 to %d are possible", s.Reviews, maxReviews)
	case s.ScanAge <= 0:
		return imx.Errorf(imx.Invalid, "scans can't be at most %s old", s.ScanAge).WithHint("a day is 24h; a policy that asks for no scan has warn: scan")
	case !slices.Contains([]imx.DeniedAction{imx.DeniedShow, imx.DeniedReplace, imx.DeniedStop}, s.Denied):
		return imx.Errorf(imx.Invalid, "nothing is known that would be done about a denied release by the name of %q", s.Denied).
			WithHint("show, replace or stop")
	}
	return freeze.Check(s.Freezes)
}

// checkAfter says what is wrong with the environment before, and how long a release must be good there.
func checkAfter(s imx.PolicySettings) error {
	switch {
	case s.Soak < 0:
		return imx.Errorf(imx.Invalid, "nothing can be good for %s", s.Soak).WithHint("a day is 24h")
	case s.After != "":
		return CheckEnvironment(s.After)
	case s.Soak > 0:
		return imx.Errorf(imx.Invalid, "it isn't said where a release must be good for %s before", s.Soak).WithHint("--after staging names the environment")
	}
	return nil
}

// CheckException says what is wrong with an exception, its condition aside. The error is of kind Invalid.
func CheckException(x imx.Exception) error {
	switch {
	case strings.TrimSpace(x.Reason) == "":
		return imx.Errorf(imx.Invalid, "an exception needs a reason").WithHint("--reason says why; the log keeps it")
	case x.Until.IsZero():
		return imx.Errorf(imx.Invalid, "an exception needs an end").WithHint("--until 72h, or a day: --until 2027-01-31")
	case !x.Until.After(x.Made):
		return imx.Errorf(imx.Invalid, "the exception's end, %s, is in the past", x.Until.UTC().Format(time.RFC3339))
	case x.Until.Sub(x.Made) > MaxException:
		return imx.Errorf(imx.Invalid, "the exception would last until %s; %d days are the most", x.Until.UTC().Format(time.DateOnly), int(MaxException.Hours()/24)).
			WithHint("what is to be so for longer belongs into the policy: imx policy set")
	}
	return nil
}

// excuse marks the conditions that exceptions excuse: of several the one that ends last. At a start what is only shown is told as excused, too:
// somebody answers for it. For a release what is only warned of needs no exception, and uses up none.
func excuse(conditions []imx.Condition, in Input, firm map[string]bool) {
	for i := range conditions {
		c := &conditions[i]
		var last imx.Exception
		for _, x := range in.Exceptions {
			if covers(x, *c, in) && x.Until.After(last.Until) {
				last = x
			}
		}
		if c.Met || firm[c.ID] || last.ID == "" || !c.Refuses && in.Purpose != imx.ForStart {
			continue
		}
		c.Exception, c.Until = last.ID, last.Until
		c.Says = fmt.Sprintf("%s (excused by %s until %s: %s)", c.Says, last.Owner, last.Until.UTC().Format(time.DateOnly), last.Reason)
	}
}

func covers(x imx.Exception, c imx.Condition, in Input) bool {
	return x.Condition == c.ID && (x.Service == "" || x.Service == in.Service) && (x.Image == "" || x.Image == in.Image.Digest) &&
		!x.Made.After(in.Now) && in.Now.Before(x.Until)
}
