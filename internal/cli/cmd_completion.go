package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

type completionOptions struct {
	Shell string
}

func newCompletionCommand(_ *Global, t *term.Terminal) *cobra.Command {
	var cmd *cobra.Command
	cmd = page{
		use:   "completion SHELL",
		short: "Print a shell's completion script",
		long: `Prints the script that teaches bash, zsh, fish or powershell to complete imx's commands and flags.
Names of services and instances are asked of the server as you type; without one there are none.`,
		example: `
$ source <(imx completion bash)
$ imx completion bash > /etc/bash_completion.d/imx`,
		exits: []status{{2, "that shell isn't known"}},
		least: 1,
		most:  1,
		complete: onlyFirst(func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return shells(), cobra.ShellCompDirectiveNoFileComp
		}),
	}.command(func(ctx context.Context, args []string) error {
		return runCompletion(ctx, completionOptions{Shell: args[0]}, cmd.Root(), t)
	})
	return cmd
}

func shells() []string { return []string{"bash", "zsh", "fish", "powershell"} }

func runCompletion(_ context.Context, opts completionOptions, root *cobra.Command, t *term.Terminal) error {
	switch opts.Shell {
	case "bash":
		return root.GenBashCompletionV2(t.Out, true)
	case "zsh":
		return root.GenZshCompletion(t.Out)
	case "fish":
		return root.GenFishCompletion(t.Out, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(t.Out)
	}
	return imx.Errorf(imx.Invalid, "there is no completion for %q", opts.Shell).
		WithHint("there is one for %s", strings.Join(shells(), ", "))
}
