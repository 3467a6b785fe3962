package plan

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"imx"
)

// A comparison of two specs lists their settings under the names that templates use. Settings
// that aren't set are absent, so that they show as added and removed.

type settings map[string]string

func (s settings) set(name, value string) {
	if value != "" {
		s[name] = value
	}
}

func (s settings) duration(name string, d imx.Duration) {
	if d != 0 {
		s[name] = d.String()
	}
}

// words joins a list so that two lists never look the same: words with blanks are quoted.
func words(list []string) string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		if w == "" || strings.ContainsAny(w, " \t\n\"") {
			w = strconv.Quote(w)
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

func imageSettings(p imx.ImagePlan) settings {
	s := settings{}
	s.set("from", words(archivesOf(p.Spec)))
	s.set("packages", words(p.Spec.Packages))
	s.set("without", words(p.Spec.Without))
	if p.Spec.Recommends {
		s["recommends"] = "true"
	}
	s.set("compression", p.Spec.Compression)
	s.set("user", p.Spec.User)
	s.set("command", words(p.Spec.Command))
	s.set("work_dir", p.Spec.WorkDir)
	s.set("stop_signal", p.Spec.StopSignal)
	s.set("setuid", words(p.Spec.Setuid))
	s.set("generated", words(p.Spec.Generated))
	s.set("architecture", p.Architecture)
	s.set("epoch", p.Epoch.UTC().Format(time.RFC3339))
	for name, value := range p.Spec.Environment {
		s["environment."+name] = value
	}
	for _, d := range p.Spec.Directories {
		s["directory."+d.Path] = access(d.Mode, d.Owner, 0o755)
	}
	return s
}

func serviceSettings(spec imx.Spec) settings {
	s := settings{}
	s.set("image", spec.Image)
	s.set("command", words(spec.Command))
	for name, value := range spec.Environment {
		s["environment."+name] = value
	}
	for _, t := range spec.Tmpfs {
		s["tmpfs."+t.Path] = strings.TrimSuffix(bytesOf(t.Size)+" "+modeOrNone(t.Mode)+" "+t.Owner, " ")
	}
	for _, v := range spec.Volumes {
		s["volume."+v.Name] = strings.TrimSuffix(v.Path+" "+v.Owner, " ")
	}
	for _, p := range spec.Ports {
		s["port."+p.Name] = strconv.Itoa(p.Container)
		if p.Publish != 0 {
			s["port."+p.Name] += ", published as " + strconv.Itoa(p.Publish)
		}
	}
	for _, c := range spec.Connect {
		s["connect."+c.Service+"."+c.Port] = "allowed"
	}
	for _, r := range spec.Routes {
		s["route."+r.Ingress+"."+r.Host+r.Prefix()+"/"] = routeSetting(r)
	}
	s.health(spec.Health)
	s.deploy(spec.Deploy)
	if r := spec.Resources; r != (imx.Resources{}) {
		s.set("resources.cpu", nonZero(strconv.FormatFloat(r.CPU, 'g', -1, 64)))
		s.set("resources.memory", nonZero(bytesOf(r.Memory)))
		s.set("resources.pids", nonZero(strconv.Itoa(r.Pids)))
	}
	s.duration("drain", spec.Drain)
	s.duration("grace", spec.Grace)
	s.duration("deadline", spec.Deadline)
	if spec.Scale != nil {
		s.scale(*spec.Scale)
	}
	return s
}

func (s settings) scale(c imx.Scaling) {
	s["scale.min"], s["scale.max"] = strconv.Itoa(c.Min), strconv.Itoa(c.Max)
	s.set("scale.cpu", nonZero(strconv.Itoa(c.CPU)))
	s.set("scale.memory", nonZero(strconv.Itoa(c.Memory)))
	s.set("scale.connections", nonZero(strconv.FormatFloat(c.Connections, 'g', -1, 64)))
	s.set("scale.requests", nonZero(strconv.FormatFloat(c.Requests, 'g', -1, 64)))
	s.duration("scale.up", c.Up)
	s.duration("scale.down", c.Down)
	s.duration("scale.idle", c.Idle)
	for _, w := range c.Schedules {
		days := "each day"
		if len(w.Days) > 0 {
			days = strings.Join(w.Days, " ")
		}
		s["scale.schedule."+w.Name] = fmt.Sprintf("%d to %d instances %s from %s to %s %s", w.Min, cmp.Or(w.Max, c.Max), days, w.From, w.To, cmp.Or(w.Zone, "UTC"))
	}
}

func (s settings) health(h imx.Health) {
	s.duration("health.every", h.Every)
	s.duration("health.timeout", h.Timeout)
	s.set("health.failures", nonZero(strconv.Itoa(h.Failures)))
	if h.HTTP != nil {
		s["health.http"] = strings.TrimSuffix(h.HTTP.Port+" "+h.HTTP.Path+" "+nonZero(strconv.Itoa(h.HTTP.Status)), " ")
	}
	if h.TCP != nil {
		s["health.tcp"] = h.TCP.Port
	}
	if h.GRPC != nil {
		s["health.grpc"] = strings.TrimSuffix(h.GRPC.Port+" "+h.GRPC.Service, " ")
	}
	if h.Command != nil {
		s["health.command"] = words(h.Command.Command)
	}
	if h.Start != nil {
		s["health.start"] = "its own pace"
		s.duration("health.start.every", h.Start.Every)
		s.duration("health.start.timeout", h.Start.Timeout)
		s.duration("health.start.within", h.Start.Within)
	}
	if h.Inferred {
		s["health.inferred"] = "from the first port"
	}
}

func (s settings) deploy(d *imx.Deploy) {
	if d == nil {
		return
	}
	s["deploy.strategy"] = string(cmp.Or(d.Strategy, imx.BlueGreen))
	s.set("deploy.surge", amountOf(d.Surge))
	s.set("deploy.unavailable", amountOf(d.Unavailable))
	s.set("deploy.preview", nonZero(strconv.Itoa(d.Preview)))
	s["deploy.window"] = d.Window.String()
	s["deploy.warm"] = string(cmp.Or(d.Warm, imx.WarmStopped))
	s.set("deploy.group", d.Group)
	for i, step := range d.Steps {
		text := strconv.Itoa(step.Share) + " %"
		if step.Pause != 0 {
			text += " for " + step.Pause.String()
		}
		if step.Confirm {
			text += ", until a person promotes it"
		}
		s["deploy.step."+strconv.Itoa(i)] = text
	}
	if m := d.Judge; m != nil {
		s["deploy.judge"] = m.Port + m.Path
		s["deploy.judge.requests"] = m.Requests
		s["deploy.judge.errors"] = m.Errors
		s.set("deploy.judge.seconds", m.Seconds)
		s["deploy.judge.at_least"] = strconv.Itoa(m.AtLeast)
		s["deploy.judge.slack"] = strconv.FormatFloat(m.Slack, 'g', -1, 64)
		s.set("deploy.judge.slow_by", nonZero(strconv.FormatFloat(m.SlowBy, 'g', -1, 64)))
	}
}

// amountOf writes a number of instances as a template does; "" is none.
func amountOf(a imx.Amount) string {
	switch {
	case a.Percent != 0 && a.Count != 0:
		return fmt.Sprintf("%d and %d%%", a.Count, a.Percent)
	case a.Percent != 0:
		return strconv.Itoa(a.Percent) + "%"
	}
	return nonZero(strconv.Itoa(a.Count))
}

// bytesOf writes a size as a template does, exactly: Size.String rounds.
func bytesOf(n imx.Size) string {
	unit := ""
	for _, larger := range []string{"KiB", "MiB", "GiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return strconv.FormatInt(int64(n), 10) + unit
}

func modeOrNone(m imx.Mode) string {
	if m == 0 {
		return ""
	}
	return m.String()
}

func nonZero(number string) string {
	if number == "0" {
		return ""
	}
	return number
}
