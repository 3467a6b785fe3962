# METADATA
# title: A shell is asked for
# description: >-
#   An image names a shell among its packages, or a command is run by one. An image has no shell unless it is asked for:
#   those that only maintainer scripts need stay in the build.
# custom:
#   id: shell
#   severity: medium
#   why: >-
#     A shell is the first thing that an intruder looks for: it turns a defect in one program into any
#     command. A command behind `sh -c` can be extended by whatever reaches its text.
#   fix: >-
#     Leave the shell out and write `command` as the program and its arguments. What a script did belongs
#     into a `file`, into the image's build, or into the program.
package imx.rules.shell

shells := {
	"ash", "bash", "bash-static", "busybox", "busybox-static", "csh", "dash", "elvish", "fish", "ksh", "ksh93u+m", "mksh",
	"posh", "rc", "sash", "tcsh", "xonsh", "yash", "zsh", "zsh-static",
}

programs := {"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "zsh"}

deny contains {"at": ["image", image.name, "packages", i], "message": message} if {
	some image in input.images
	some i, asked in image.packages
	name := split(split(asked, "=")[0], "/")[0]
	name in shells
	message := sprintf("image.%s asks for the shell %s", [image.name, name])
}

deny contains {"at": [kind, block.name, "command"], "message": message} if {
	some kind in ["image", "service"]
	some block in input[concat("", [kind, "s"])]
	words := split(block.command[0], "/")
	program := words[count(words) - 1]
	program in programs
	message := sprintf("%s.%s is run by the shell %s", [kind, block.name, program])
}
