package trial

import (
	"context"
	"fmt"
	"slices"

	"imx"
	"imx/internal/inside"
)

// lookInside asks of an instance's files, processes, ports and users, as the machine sees them.
func (s *session) lookInside(ctx context.Context, t *imx.Test, in imx.Instance) []imx.TestCheck {
	var checks []imx.TestCheck
	ask := func(k imx.TestCheck, got func() (string, bool)) {
		checks = append(checks, s.again(ctx, in, func(context.Context) imx.TestCheck {
			k.Got, k.Passed = got()
			k.Got = short(k.Got)
			return k
		}))
	}
	for _, f := range t.Files {
		ask(imx.TestCheck{Name: fmt.Sprintf("file %q", f.Path), Asked: fileAsked(f), At: f.At}, func() (string, bool) { return fileGot(in.Pid, f) })
	}
	for _, p := range t.Processes {
		ask(imx.TestCheck{Name: fmt.Sprintf("process %q", p.Program), Asked: processAsked(p), At: p.At}, func() (string, bool) { return processGot(in.Pid, p) })
	}
	if len(t.Listens) > 0 {
		wanted := slices.Sorted(slices.Values(t.Listens))
		ask(imx.TestCheck{Name: "listens", Asked: fmt.Sprintf("it listens on the ports %v and no other", wanted), At: t.At}, func() (string, bool) {
			ports, err := inside.Listens(in.Pid)
			if err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("it listens on %v", ports), slices.Equal(ports, slices.Compact(wanted))
		})
	}
	if t.User != "" {
		ask(imx.TestCheck{Name: "user", Asked: "every process runs as " + t.User, At: t.At}, func() (string, bool) { return userGot(in.Pid, t.User) })
	}
	return checks
}

func fileAsked(f imx.FileTest) string {
	if f.Absent {
		return f.Path + " isn't there"
	}
	text := f.Path + " is there"
	if f.Mode != 0 {
		text += fmt.Sprintf(", with mode %04o", uint32(f.Mode))
	}
	if f.Owner != "" {
		text += ", owned by " + f.Owner
	}
	return text + with(f.Contains, "")
}

func fileGot(pid int, f imx.FileTest) (string, bool) {
	found, err := inside.File(pid, f.Path, judged)
	switch {
	case err != nil:
		return err.Error(), false
	case !found.There:
		return "it isn't there", f.Absent
	case f.Absent:
		return "it is there", false
	}
	got := fmt.Sprintf("mode %04o, owned by %s", found.Mode, inside.UserName(pid, found.UID))
	if f.Mode != 0 && uint32(f.Mode) != found.Mode {
		return got, false
	}
	if f.Owner != "" && !inside.IsUser(pid, f.Owner, found.UID) {
		return got, false
	}
	if missing := lacks(found.Content, f.Contains, ""); missing != "" {
		return got + ", and it doesn't " + missing, false
	}
	return got, true
}

func processAsked(p imx.ProcessTest) string {
	text := fmt.Sprintf("at least %d run", p.Least)
	switch {
	case p.Most == nil:
	case *p.Most == 0:
		return "none runs"
	default:
		text = fmt.Sprintf("%d to %d run", p.Least, *p.Most)
	}
	if p.User != "" {
		text += " as " + p.User
	}
	return text
}

func processGot(pid int, p imx.ProcessTest) (string, bool) {
	all, err := inside.Processes(pid)
	if err != nil {
		return err.Error(), false
	}
	count := 0
	for _, one := range all {
		if !one.Runs(p.Program) {
			continue
		}
		if count++; p.Most != nil && *p.Most == 0 {
			return fmt.Sprintf("process %d of it runs", one.Pid), false
		}
		if p.User != "" && !inside.IsUser(pid, p.User, one.UID) {
			return fmt.Sprintf("process %d of it runs as %s", one.Pid, inside.UserName(pid, one.UID)), false
		}
	}
	return fmt.Sprintf("%d run", count), count >= p.Least && (p.Most == nil || count <= *p.Most)
}

func userGot(pid int, user string) (string, bool) {
	all, err := inside.Processes(pid)
	if err != nil {
		return err.Error(), false
	}
	for _, one := range all {
		if !inside.IsUser(pid, user, one.UID) {
			return fmt.Sprintf("%s runs as %s", one.Program, inside.UserName(pid, one.UID)), false
		}
	}
	return fmt.Sprintf("all %d do", len(all)), len(all) > 0
}
