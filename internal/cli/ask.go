package cli

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

// patience is how long completion waits for a server before it offers nothing.
const patience = 500 * time.Millisecond

// track runs a long request and shows its progress: drawn or in lines for a person, as update
// lines on stderr with --json.
func track[T any](g *Global, t *term.Terminal, work func(imx.Report) (T, error)) (T, error) {
	var result T
	run := func(report imx.Report) (err error) {
		result, err = work(report)
		return err
	}
	if !g.JSON {
		return result, t.Track(run)
	}
	var mu sync.Mutex
	return result, run(func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		_ = printLine(t.Err, imx.Update[struct{}]{Progress: &p})
	})
}

// nobodyAsked refuses what can't be taken back where it can't be asked about first.
func nobodyAsked(g *Global, t *term.Terminal, what, look string) error {
	if t.Asks && !g.JSON {
		return nil
	}
	return imx.Errorf(imx.Invalid, "%s asks before it changes anything, and nobody is there to answer", what).
		WithHint("say --yes; %s shows what it would do", look)
}

// errDeclined is the answer no.
func errDeclined() error {
	return imx.Errorf(imx.Refused, "not confirmed: nothing was changed")
}

// completeDirs offers folders.
func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeServices offers the server's services that aren't named yet, and nothing where no
// server answers in time. format makes a word of a service.
func completeServices(g *Global, format func(imx.Service) string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		services, err := g.client().Services(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []string
		for _, s := range services {
			words = append(words, format(s))
		}
		return unused(words, args, start), cobra.ShellCompDirectiveNoFileComp
	}
}

func serviceName(s imx.Service) string { return s.Name }

// completeInstances offers the instances that run, with their phases, as what a command takes one
// of; with services too where the command takes those.
func completeInstances(g *Global, services cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		instances, err := g.client().Instances(ctx, "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []string
		if services != nil {
			words, _ = services(cmd, args, start)
		}
		for _, in := range instances {
			words = append(words, cobra.CompletionWithDesc(in.ID, string(in.Phase)))
		}
		return unused(words, args, start), cobra.ShellCompDirectiveNoFileComp
	}
}

// onlyFirst offers words for the first argument alone.
func onlyFirst(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, start)
	}
}

func unused(words, used []string, start string) []string {
	taken := map[string]bool{}
	for _, u := range used {
		taken[u] = true
	}
	var left []string
	for _, w := range words {
		if strings.HasPrefix(w, start) && !taken[w] {
			left = append(left, w)
		}
	}
	return left
}
