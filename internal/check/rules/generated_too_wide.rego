# METADATA
# title: More is taken from maintainer scripts than was looked at
# description: >-
#   A pattern in `generated` of an image has a wildcard in its first two folders ("/*", "/var/*", "/etc/*.conf"), or names
#   a folder of the system as a whole.
# custom:
#   id: generated-too-wide
#   severity: medium
#   why: >-
#     imx leaves out what scripts make while an image is built: caches, logs, keys that would be the same in each
#     instance. A wide pattern takes all of it back in, and what the next version of a package makes, too.
#   fix: >-
#     Name the folder of the one program that needs it: "/var/lib/app/*".
package imx.rules.generated_too_wide

system := {"/etc", "/usr", "/usr/lib", "/usr/share", "/var", "/var/lib", "/var/cache", "/var/log", "/opt", "/root", "/home", "/srv", "/tmp", "/run"}

deny contains {"at": ["image", image.name, "generated", i], "message": message} if {
	some image in input.images
	some i, pattern in image.generated
	not startswith(pattern, "!")
	wide(pattern)
	message := sprintf("image.%s takes %s, which is more than one program's", [image.name, pattern])
}

wide(pattern) if pattern in system

wide(pattern) if regex.match(`^/[^/]*[*?\[]`, pattern)

wide(pattern) if regex.match(`^/[^/]+/[^/]*[*?\[]`, pattern)
