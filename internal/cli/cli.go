// Package cli is the imx command line: it reads a person's words and folders, asks a server
// through client, and shows the answer as text or JSON. It decides nothing that a server decides.
package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/check/apart"
	"imx/internal/client"
	"imx/internal/term"
)

// DefaultData is the folder that holds everything of a server, unless --data or IMX_DATA names
// another.
const DefaultData = "/var/lib/imx"

// Process is what a run of imx gets from outside.
type Process struct {
	Terminal *term.Terminal
	Env      func(name string) string
	Version  imx.Version
}

// Global holds what every command knows.
type Global struct {
	Data    string // the server's folder
	JSON    bool   // answer with JSON in place of text
	Version imx.Version
	Probe   string // a static imx for the server to test images with; "" for this one
	Agent   string // the socket of the SSH agent; "" for none
	Cache   string // the folder of what can be made anew at any time; "" for none
}

// Socket returns the path of the server's socket.
func (g *Global) Socket() string { return filepath.Join(g.Data, "imx.sock") }

func (g *Global) client() *client.Client { return client.New(g.Socket()) }

// Main runs imx with the arguments after the program's name and returns its exit status. When
// ctx ends, the command stops as soon as it can and the status is 130.
func Main(ctx context.Context, args []string, p Process) int {
	if len(args) > 0 && args[0] == probeWord {
		return runProbe(ctx, args[1:], p.Terminal)
	}
	if len(args) > 0 && args[0] == frontWord {
		return runFront(ctx, args[1:], p.Terminal)
	}
	if len(args) > 0 && args[0] == apart.Word {
		return apart.Main(ctx, p.Terminal.In, p.Terminal.Out)
	}
	out := watched(p.Terminal)
	root, g := newRoot(p)
	root.SetArgs(args)
	err := helpOfNone(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	return finish(ctx, out.says(err), g, p.Terminal)
}

func newRoot(p Process) (*cobra.Command, *Global) {
	g, t := &Global{Version: p.Version}, p.Terminal
	noColor := false
	root := &cobra.Command{
		Use:           "imx",
		Short:         "Immutable infrastructure: from a template to instances that are only ever replaced",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
		PersistentPreRun: func(*cobra.Command, []string) {
			if noColor {
				t.NoColor()
			}
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	data := p.Env("IMX_DATA")
	if data == "" {
		data = DefaultData
	}
	g.Cache, g.Probe, g.Agent = cacheFolder(p.Env), p.Env("IMX_PROBE"), p.Env("SSH_AUTH_SOCK")
	flags := root.PersistentFlags()
	flags.StringVar(&g.Data, "data", data, "`DIR` that holds everything of the server; IMX_DATA names it too")
	flags.BoolVar(&g.JSON, "json", false, "print the result as JSON on stdout; progress and errors as JSON lines on stderr")
	flags.BoolVar(&noColor, "no-color", false, "no colours; NO_COLOR in the environment does the same")
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { showHelp(t, cmd) })
	root.SetHelpCommand(newHelpCommand())
	root.SetFlagErrorFunc(flagError)
	addCommands(root, g, t)
	return root, g
}

// cacheFolder is where the XDG base directory specification has it.
func cacheFolder(env func(string) string) string {
	switch {
	case filepath.IsAbs(env("XDG_CACHE_HOME")):
		return filepath.Join(env("XDG_CACHE_HOME"), "imx")
	case filepath.IsAbs(env("HOME")):
		return filepath.Join(env("HOME"), ".cache", "imx")
	}
	return ""
}

// addCommands lists the commands in the order in which help shows them.
func addCommands(root *cobra.Command, g *Global, t *term.Terminal) {
	for _, group := range groups() {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for i, build := range group.commands {
			cmd := build(g, t)
			cmd.GroupID, cmd.Annotations[orderNote] = group.id, string(rune('a'+i))
			root.AddCommand(cmd)
		}
	}
}

type group struct {
	id, title string
	commands  []func(*Global, *term.Terminal) *cobra.Command
}

func groups() []group {
	type build = func(*Global, *term.Terminal) *cobra.Command
	return []group{
		{"write", "Write a template", []build{newInitCommand, newCheckCommand, newRulesCommand, newLSPCommand}},
		{"go", "Make it so", []build{newPlanCommand, newBuildCommand, newTestCommand, newApplyCommand, newPromoteCommand, newReleaseCommand, newSourceCommand, newArchiveCommand, newRegistryCommand, newGCCommand}},
		{"look", "Look", []build{newStatusCommand, newPsCommand, newLogsCommand, newIngressCommand, newReleasesCommand, newImageCommand, newSBOMCommand, newScanCommand, newFeedCommand, newVEXCommand, newVerifyCommand, newWhyCommand, newLogCommand}},
		{"trust", "Trust", []build{newReviewCommand, newApproveCommand, newRejectCommand, newKeyCommand, newPersonCommand, newUpstreamCommand, newPolicyCommand, newExceptionCommand}},
		{"steer", "Steer", []build{newRolloutCommand, newRollbackCommand, newHoldCommand, newScaleCommand, newTaintCommand, newUntaintCommand, newDestroyCommand}},
		{"serve", "Server and program", []build{newServerCommand, newDemoCommand, newVersionCommand, newCompletionCommand}},
	}
}

// newHelpCommand replaces cobra's: `imx help plan` is `imx plan --help`.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "Show the help of a command",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 && found == cmd.Root() {
				return unknownCommand(cmd.Root(), rest[0])
			}
			return found.Help()
		},
	}
}
