package template

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"imx"
	"imx/internal/metric"
)

// Each rule returns what is wrong with one string, a zero flaw for nothing. The texts follow a
// setting's name: `packages has "Nginx", which is not ...`.

const (
	nameForm = "lower-case letters, digits and hyphens, beginning with a letter, at most 40"
	// maxPath is below Linux's PATH_MAX of 4096 bytes with room for an image's own folder.
	maxPath = 1024
	// maxArgument is below Linux's limit of 128 KiB for one argument or variable.
	maxArgument = 100_000
)

var (
	nameRE = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	// Debian Policy 5.6.1 and 5.6.12: names of packages, and versions (~ : + - .).
	packageRE = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	versionRE = regexp.MustCompile(`^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$`)
	suiteRE   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	accountRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,31}$`)
	numericRE = regexp.MustCompile(`^[0-9]{1,9}(:[0-9]{1,9})?$`)
	ruleRE    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	envRE     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// label is a kind of block label.
func label(word string, check func(string) flaw) *kind[string] {
	k := oneString(word, check)
	return &k
}

func isName(s string) flaw {
	if nameRE.MatchString(s) {
		return flaw{}
	}
	f := flaw{summary: "is " + quote(s) + "; it must be " + nameForm}
	if near := strings.ReplaceAll(strings.ToLower(s), "_", "-"); nameRE.MatchString(near) {
		f.hint = "write " + quote(near)
	}
	return f
}

// isPath keeps to absolute, clean paths in an image's own file system.
func isPath(s string) flaw {
	is := "is " + quote(s)
	switch top, _, _ := strings.Cut(strings.TrimPrefix(s, "/"), "/"); {
	case !plain(s) || len(s) > maxPath:
		return flaw{summary: is + ", which is no path: it is too long or has a control character"}
	case !path.IsAbs(s):
		return flaw{summary: is + "; it must be absolute", hint: "write " + quote(path.Clean("/"+s))}
	case path.Clean(s) != s:
		return flaw{summary: is + "; it must be clean", hint: "write " + quote(path.Clean(s))}
	case s == "/":
		return flaw{summary: is + ", the root itself", hint: "name what below it you mean"}
	case slices.Contains([]string{"proc", "sys", "dev"}, top):
		return flaw{summary: is + "; /" + top + " belongs to the kernel", hint: "choose another path, below /run or /var for example"}
	}
	return flaw{}
}

// isGlob takes a pattern of paths, behind a "!" where it leaves them out.
func isGlob(s string) flaw {
	pattern, out := strings.CutPrefix(s, "!")
	if _, err := path.Match(pattern, ""); err != nil {
		return flaw{summary: "has " + quote(s) + ", which is not a pattern", hint: "* and ? and [a-z] match; \\ quotes them"}
	}
	f := has(isPath(pattern))
	if out {
		f.summary = strings.Replace(f.summary, quote(pattern), quote(s), 1)
		f.hint = strings.Replace(f.hint, `write "`, `write "!`, 1)
	}
	return f
}

func isListedPath(s string) flaw { return has(isPath(s)) }

// has turns a flaw of one value into one of a list's element.
func has(f flaw) flaw {
	f.summary = strings.Replace(f.summary, "is ", "has ", 1)
	return f
}

// plain reports whether s is text without control characters.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func isPackage(s string) flaw {
	name, version, pinned := strings.Cut(s, "=")
	name, suite, placed := strings.Cut(name, "/")
	f := flaw{}
	switch {
	case !packageRE.MatchString(name):
		f.summary = "has " + quote(s) + ", which is not a Debian package name"
		if near := strings.ToLower(strings.TrimSpace(name)); packageRE.MatchString(near) {
			f.hint = "write " + quote(near)
		} else {
			f.hint = `write "name", "name=version" or "name/suite"`
		}
	case pinned && placed:
		f.summary = "has " + quote(s) + ", with both a suite and a version"
		f.hint = "write " + quote(name+"="+version) + " or " + quote(name+"/"+suite)
	case placed && !suiteRE.MatchString(suite):
		f.summary = "has " + quote(s) + ", whose suite is not the name of a suite"
		f.hint = `write "name/suite", such as "nginx-light/bookworm-backports"`
	case pinned && !versionRE.MatchString(version):
		f.summary = "has " + quote(s) + ", whose version is not a Debian version"
		f.hint = `write "name=version", such as "nginx-light=1.22.1-9"`
	}
	return f
}

func isPackageName(s string) flaw {
	f := isPackage(s)
	if f == (flaw{}) && strings.ContainsAny(s, "=/") {
		f.summary = "has " + quote(s) + ", where only a name can be"
		f.hint = "write " + quote(s[:strings.IndexAny(s, "=/")])
	}
	return f
}

func isSuite(s string) flaw {
	if suiteRE.MatchString(s) {
		return flaw{}
	}
	return flaw{summary: "has " + quote(s) + ", which is not the name of a suite or component"}
}

func isMirror(s string) flaw {
	u, err := url.Parse(s)
	switch {
	case err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme),
		u.Scheme != "file" && u.Host == "", u.Scheme == "file" && (u.Host != "" || !path.IsAbs(u.Path)):
		return flaw{summary: "is " + quote(s) + ", which is not an http, https or file URL", hint: `write the folder above dists/, such as "file:///srv/debian"`}
	case u.User != nil:
		return flaw{summary: "has a user in it, and would show it in plans and logs", hint: "leave the user out"}
	case u.RawQuery != "" || u.Fragment != "":
		return flaw{summary: "is " + quote(s) + "; a mirror has no ? or #"}
	}
	return flaw{}
}

func isUser(s string) flaw {
	if accountRE.MatchString(s) || numericRE.MatchString(s) {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is not a user", hint: `write a user's name, or numbers as "1000" or "1000:1000"`}
}

func isOwner(s string) flaw {
	if accountRE.MatchString(s) {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is not the name of a user", hint: "name a user of the image, such as \"www-data\""}
}

func isArgument(s string) flaw {
	if strings.ContainsRune(s, 0) || len(s) > maxArgument {
		return flaw{summary: "has an argument that is too long or has a zero byte"}
	}
	return flaw{}
}

func variable(name, value string) flaw {
	switch {
	case !envRE.MatchString(name):
		return flaw{summary: "has " + quote(name) + ", which is not the name of a variable", hint: "letters, digits and _, not beginning with a digit"}
	case strings.ContainsRune(value, 0) || len(value) > maxArgument:
		return flaw{summary: "has a value for " + quote(name) + " that is too long or has a zero byte"}
	}
	return flaw{}
}

func isSignal(s string) flaw {
	signals := []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGWINCH"}
	if slices.Contains(signals, s) {
		return flaw{}
	}
	return flaw{
		summary: "is " + quote(s) + ", which is not a signal that stops a process",
		hint:    known("SIG"+strings.TrimPrefix(strings.ToUpper(s), "SIG"), signals, "", ""),
	}
}

func isCompression(s string) flaw {
	if s == "zstd" || s == "gzip" {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is no compression of layers", hint: `write "zstd" or "gzip"`}
}

func isURLPath(s string) flaw {
	if u, err := url.ParseRequestURI(s); err != nil || u.Host != "" || !strings.HasPrefix(s, "/") || !plain(s) {
		return flaw{summary: "is " + quote(s) + ", which is not a path of a URL", hint: `begin with "/", as in "/healthz"`}
	}
	return flaw{}
}

func isSelector(s string) flaw {
	if _, err := metric.Parse(s); err != nil {
		e := imx.AsError(err)
		return flaw{summary: "is wrong: " + e.Message, hint: e.Hint}
	}
	return flaw{}
}

func isRule(s string) flaw {
	if ruleRE.MatchString(s) {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is not the name of a rule", hint: "`imx rules` lists them"}
}

// maxReason is more than anybody reads of a reason.
const maxReason = 1000

func isReason(s string) flaw {
	switch {
	case strings.TrimSpace(s) == "":
		return flaw{summary: "is empty", hint: "say why the risk is taken, for whoever reads this next"}
	case !plain(s) || len(s) > maxReason:
		return flaw{summary: "is too long or has a control character"}
	}
	return flaw{}
}

func isThing(s string) flaw {
	if s == "" || !plain(s) || len(s) > maxPath {
		return flaw{summary: "has " + quote(s) + ", which names nothing", hint: "write service.NAME, image.NAME, archive.NAME or the path of a file in quotes"}
	}
	return flaw{}
}
