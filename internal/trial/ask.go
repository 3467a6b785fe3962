package trial

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/inside"
)

// settling is for how long what a healthy instance answers may still be another answer than the one that is asked
// for: what stands behind it may be getting ready. The test's own time bounds it too.
const settling = 5 * time.Second

// test starts a case's instances, asks what its test asks, and fills in its result. Only the end of ctx is an error.
func (s *session) test(ctx context.Context, c *trialCase) error {
	limit := cmp.Or(time.Duration(c.test.Timeout), time.Minute)
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the test's time of %s is over", limit)) //nolint:err113 // its words are its meaning
	defer cancel()
	releases := s.releases(slices.Concat(c.others, []Subject{c.subject}, c.after))
	id, ok := s.startAll(limited, c, releases)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ok {
		s.askAll(limited, c, releases, id)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if slices.ContainsFunc(c.result.Checks, func(k imx.TestCheck) bool { return !k.Passed }) {
		c.result.Logs = s.tail(ctx, id)
	}
	return nil
}

// startAll starts the releases one after the other, each when the one before is healthy, and returns the id of the
// instance that is asked. What keeps it from that is a check that failed, and the id is then that of the culprit.
func (s *session) startAll(ctx context.Context, c *trialCase, releases []imx.Release) (id string, ok bool) {
	for _, r := range releases {
		check := imx.TestCheck{Name: "start", Asked: r.Service + " gets healthy"}
		err := s.Admit(ctx, r)
		if err == nil {
			err = s.start(ctx, r)
		}
		var in imx.Instance
		if err == nil {
			if err = s.route(ctx, r); err == nil {
				in, err = s.started(ctx, r)
			}
		}
		if r.Service == c.subject.Spec.Name {
			id = in.ID
		}
		switch {
		case err != nil && in.Reason != "":
			check.Got = short(in.Reason + "; " + err.Error())
		case err != nil:
			check.Got = short(imx.AsError(err).Message)
		case in.Phase == imx.Ended:
			check.Got = short(in.Reason)
		default:
			continue
		}
		c.result.Checks = append(c.result.Checks, check)
		return in.ID, false
	}
	return id, true
}

// started waits until an instance is healthy or has ended: for no longer than its service's deadline, when a rollout gives
// it up, too.
func (s *session) started(ctx context.Context, r imx.Release) (imx.Instance, error) {
	if limit := time.Duration(r.Spec.Deadline); limit > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("its deadline of %s is over", limit)) //nolint:err113 // its words are its meaning
		defer cancel()
		ctx = limited
	}
	return s.until(ctx, r, func(in imx.Instance) bool { return in.Phase == imx.Healthy || in.Phase == imx.Ended })
}

// askAll asks what the test asks of the instance of its subject, which is one of the releases.
func (s *session) askAll(ctx context.Context, c *trialCase, releases []imx.Release, id string) {
	r := releases[len(c.others)]
	in, err := s.until(ctx, r, func(in imx.Instance) bool { return in.ID == id })
	if err != nil {
		c.cantStart(err)
		return
	}
	add := func(ks ...imx.TestCheck) { c.result.Checks = append(c.result.Checks, ks...) }
	for _, h := range c.test.HTTP {
		add(s.again(ctx, in, func(ctx context.Context) imx.TestCheck { return askHTTP(ctx, h, endpoint(in, r.Spec, h.Port)) }))
	}
	for _, h := range c.test.TCP {
		add(s.again(ctx, in, func(ctx context.Context) imx.TestCheck { return askTCP(ctx, h, endpoint(in, r.Spec, h.Port)) }))
	}
	for _, command := range c.test.Commands {
		add(s.askCommand(ctx, command, c.way(command, r, id))) // once: what it does may not be done twice
	}
	add(s.lookInside(ctx, c.test, in)...)
	add(s.stillRuns(ctx, in, r.Spec, c.result.Checks)...)
	if c.test.Cannot != nil {
		add(s.askCannot(ctx, c, r, releases)...)
	}
}

const (
	// alive is how long an instance without a health check has to run to be taken for one that works: until it is asked, it is
	// healthy while it runs.
	alive = time.Second
	// toTell is how long the engine may take to tell of the end of an instance whose process is ending.
	toTell = 10 * time.Second
)

// stillRuns is a check that failed if the instance has ended, and none otherwise. What is ending has ended: with an instance's
// first process all others are killed, so that a command may be told of before it.
func (s *session) stillRuns(ctx context.Context, in imx.Instance, spec imx.Spec, asked []imx.TestCheck) []imx.TestCheck {
	until := time.Now()
	if spec.Health.HTTP == nil && spec.Health.TCP == nil {
		until = in.Started.Add(alive)
	}
	if slices.ContainsFunc(asked, func(k imx.TestCheck) bool { return !k.Passed }) {
		until = time.Now().Add(alive)
	}
	for last := time.Now().Add(toTell); ; {
		if ended, reason := s.ended(ctx, in.ID); ended {
			return []imx.TestCheck{{Name: "end", Asked: spec.Name + " runs until it was asked everything", Got: short(reason)}}
		}
		ending := inside.Ending(in.Pid) && time.Now().Before(last)
		if !ending && time.Now().After(until) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // which is told by whoever waits for it
		case <-time.After(look):
		}
	}
}

func endpoint(in imx.Instance, spec imx.Spec, port string) string {
	number := 0
	for _, p := range spec.Ports {
		if p.Name == port {
			number = p.Container
		}
	}
	return net.JoinHostPort(in.Address.String(), strconv.Itoa(number))
}

// again asks until the check passes, the instance has ended or its time is over.
func (s *session) again(ctx context.Context, in imx.Instance, ask func(context.Context) imx.TestCheck) imx.TestCheck {
	settled := time.Now().Add(settling)
	for {
		check := ask(ctx)
		if check.Passed || ctx.Err() != nil || time.Now().After(settled) {
			return check
		}
		if ended, reason := s.ended(ctx, in.ID); ended {
			check.Got = short(check.Got + "; the instance has ended: " + reason)
			return check
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// ended says whether an instance has ended, and why.
func (s *session) ended(ctx context.Context, id string) (bool, string) {
	seen, err := s.Observe(ctx)
	if err != nil {
		return false, ""
	}
	i := slices.IndexFunc(seen.Instances, func(in imx.Instance) bool { return in.ID == id })
	if i < 0 {
		return true, "it is gone"
	}
	return seen.Instances[i].Phase == imx.Ended, seen.Instances[i].Reason
}

// oneAnswer is how long a single answer may take.
const oneAnswer = 10 * time.Second

func askHTTP(ctx context.Context, h imx.HTTPTest, address string) imx.TestCheck {
	url := "http://" + address + h.Path
	check := imx.TestCheck{Name: fmt.Sprintf("http %q", h.Name), Asked: h.Method + " " + url + " is answered " + expectation(h), At: h.At}
	ctx, cancel := context.WithTimeout(ctx, oneAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, h.Method, url, strings.NewReader(h.Body))
	if err != nil {
		check.Got = short(err.Error())
		return check
	}
	for name, value := range h.Headers {
		request.Header.Set(name, value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		check.Got = short(spoken(err))
		return check
	}
	defer response.Body.Close() // read-only
	body, err := io.ReadAll(io.LimitReader(response.Body, judged))
	check.Got, check.Output = response.Status, kept(body)
	statusFits := response.StatusCode == h.Status || h.Status == 0 && response.StatusCode >= 200 && response.StatusCode < 400
	switch missing := lacks(body, h.Contains, h.Matches); {
	case err != nil:
		check.Got += ", then " + short(spoken(err))
	case !statusFits:
	case missing != "":
		check.Got += ", but its body doesn't " + missing
	default:
		check.Passed = true
	}
	return check
}

// judged is how much of an answer, or of what a command writes, is looked at.
const judged = 1 << 20

func expectation(h imx.HTTPTest) string {
	text := "200 to 399"
	if h.Status != 0 {
		text = strconv.Itoa(h.Status)
	}
	return text + with(h.Contains, h.Matches)
}

func with(contains, matches string) string {
	var text string
	if contains != "" {
		text += fmt.Sprintf(", containing %q", short(contains))
	}
	if matches != "" {
		text += fmt.Sprintf(", matching %q", short(matches))
	}
	return text
}

// lacks says what a text that was to contain and to match something doesn't do, "" if it does both.
func lacks(text []byte, contains, matches string) string {
	if contains != "" && !strings.Contains(string(text), contains) {
		return fmt.Sprintf("contain %q", short(contains))
	}
	if matches == "" {
		return ""
	}
	expression, err := regexp.Compile(matches)
	if err != nil || !expression.Match(text) {
		return fmt.Sprintf("match %q", short(matches))
	}
	return ""
}

// kept is the end of an output, bounded.
func kept(output []byte) string {
	if len(output) > keptOutput {
		output = append([]byte("..."), output[len(output)-keptOutput:]...)
	}
	return strings.ToValidUTF8(string(output), "\uFFFD")
}

func askTCP(ctx context.Context, t imx.TCPTest, address string) imx.TestCheck {
	check := imx.TestCheck{Name: fmt.Sprintf("tcp %q", t.Name), Asked: address + " takes a connection" + with(t.Contains, ""), At: t.At}
	ctx, cancel := context.WithTimeout(ctx, oneAnswer)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
	if err != nil {
		check.Got = short(spoken(err))
		return check
	}
	defer conn.Close() // what was sent was answered, or not
	check.Got = "connected"
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // never fails on an open connection
	}
	if _, err := io.WriteString(conn, t.Send); err != nil {
		check.Got = short(spoken(err))
		return check
	}
	var answer []byte
	for b := make([]byte, 4<<10); t.Contains != "" && !strings.Contains(string(answer), t.Contains); {
		n, err := conn.Read(b)
		answer = append(answer, b[:n]...)
		if err != nil || len(answer) > judged {
			check.Got, check.Output = fmt.Sprintf("an answer that doesn't contain %q", short(t.Contains)), kept(answer)
			return check
		}
	}
	check.Passed, check.Output = true, kept(answer)
	return check
}

func (s *session) askCommand(ctx context.Context, t imx.CommandTest, run way) imx.TestCheck {
	check := imx.TestCheck{
		Name: fmt.Sprintf("command %q", t.Name), At: t.At,
		Asked: fmt.Sprintf("%s ends with %d%s", strings.Join(t.Command, " "), t.Exit, with(t.Contains, t.Matches)),
	}
	var out bounded
	code, err := run(ctx, s, &out)
	check.Output = kept(out.tail)
	switch missing := lacks(out.head, t.Contains, t.Matches); {
	case err != nil && ctx.Err() != nil && code >= 0:
		check.Got = fmt.Sprintf("it ended with %d, but what it started holds its output open: %s", code, context.Cause(ctx))
	case err != nil && ctx.Err() != nil:
		check.Got = fmt.Sprintf("it didn't end: %s", context.Cause(ctx))
	case err != nil && code >= 0:
		check.Got = short(fmt.Sprintf("it ended with %d: %s", code, imx.AsError(err).Message))
	case err != nil:
		check.Got = short(err.Error())
	case code != t.Exit:
		check.Got = fmt.Sprintf("it ended with %d", code)
	case missing != "" && out.written > judged:
		check.Got = fmt.Sprintf("it ended with %d, but the first %s of the %s that it wrote don't %s", code, imx.Size(judged), out.written, missing)
	case missing != "":
		check.Got = fmt.Sprintf("it ended with %d, but its output doesn't %s", code, missing)
	default:
		check.Got, check.Passed = fmt.Sprintf("it ended with %d", code), true
	}
	return check
}

// bounded keeps the beginning and the end of what is written to it.
type bounded struct {
	head, tail []byte
	written    imx.Size
}

// Write implements io.Writer; it takes everything.
func (b *bounded) Write(p []byte) (int, error) {
	b.head = append(b.head, p[:min(len(p), judged-len(b.head))]...)
	b.written += imx.Size(len(p))
	b.tail = append(b.tail, p[max(0, len(p)-keptOutput-1):]...)
	b.tail = b.tail[max(0, len(b.tail)-keptOutput-1):] // one more than is shown, so that it shows that there was more
	return len(p), nil
}
