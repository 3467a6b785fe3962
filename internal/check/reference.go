package check

import (
	"fmt"
	"strings"

	"imx"
)

// Reference returns the Markdown of docs/rules.md, made from what the rules say of themselves: all of imx's own, and
// of others' the name and title.
func Reference(rules, others []imx.Rule) string {
	var b strings.Builder
	b.WriteString(`# The rules

What ` + "`imx check`" + ` holds templates against, and a server before it plans. Made from the rules' own descriptions;
` + "`imx rules RULE`" + ` shows the same. [docs/check.md](check.md) tells how findings are waived and how to write rules of your own.

| rule | severity | what it finds |
|---|---|---|
`)
	for _, level := range imx.Levels() {
		for _, r := range rules {
			if r.Level == level {
				fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", r.ID, r.ID, r.Level, r.Title)
			}
		}
	}
	b.WriteString(`
## What no template can ask for

Some of what is checked elsewhere has no rule here, for there is nothing to write that would break it:

| not to be had | what stands in its place |
|---|---|
| a writable root | An instance's root is read-only, always. The nearest to it is ` + "`writable-system-folder`" + `. |
| added capabilities, privileged instances | An instance has none, and can't gain any. The nearest to it is ` + "`setuid-kept`" + `, for what an image takes elsewhere. |
| open egress | An instance reaches the ports in its service's ` + "`connect`" + `, and nothing else. The nearest to it is ` + "`wide-connect`" + `. |
| no limits at all | What isn't written is imx's default. ` + "`missing-limits`" + ` tells that nobody chose it. |
| the machine's network, processes or files | There is no setting for them. |
`)
	for _, r := range rules {
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** Severity: %s.\n\n%s\n\n*Why:* %s\n\n*Fix:* %s\n", r.ID, r.Title, r.Level, r.Description, r.Why, r.Fix)
		for _, l := range r.Links {
			fmt.Fprintf(&b, "\n<%s>\n", l)
		}
	}
	b.WriteString("\n## Further rules\n\nFor secrets, in templates and in all text beside them, and for files of other tools. `imx rules RULE` tells the rest.\n\n" +
		"| rule | severity | from | what it finds |\n|---|---|---|---|\n")
	for _, r := range others {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.ID, r.Level, r.From, strings.ReplaceAll(r.Title, "|", `\|`))
	}
	return b.String()
}
