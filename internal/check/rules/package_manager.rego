# METADATA
# title: A package manager is asked for
# description: An image names a program among its packages that installs software.
# custom:
#   id: package-manager
#   severity: medium
#   why: >-
#     An image is replaced, never changed: nothing in it needs to install anything. For an intruder a package manager
#     is a download tool, and often an interpreter, too.
#   fix: >-
#     Name what it would install in `packages`. For libraries that Debian doesn't have, install them into a folder
#     beforehand and take that in with `file` blocks, or package them.
package imx.rules.package_manager

managers := {
	"apk-tools", "apt", "apt-get", "aptitude", "aptly", "cargo", "composer", "conda", "dnf", "dpkg", "flatpak", "gem", "guix",
	"luarocks", "maven", "nix-bin", "npm", "opam", "pip", "pipx", "pnpm", "python3-pip", "rpm", "rubygems", "snapd", "synaptic",
	"yarn", "yarnpkg", "yum", "zypper",
}

deny contains {"at": ["image", image.name, "packages", i], "message": message} if {
	some image in input.images
	some i, asked in image.packages
	name := split(split(asked, "=")[0], "/")[0]
	name in managers
	message := sprintf("image.%s asks for the package manager %s", [image.name, name])
}
