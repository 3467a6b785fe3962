# METADATA
# title: An image runs as root
# description: "`user` of an image isn't written, or is root by name or number."
# related_resources:
# - ref: https://www.cisecurity.org/benchmark/docker
# custom:
#   id: root-user
#   severity: high
#   why: >-
#     An instance has no capabilities and a read-only root, but root still owns every file in it: a defect in the
#     program may read what is meant for others, and a defect in the kernel is worse to have as root.
#   fix: >-
#     Write `user` with an account that the package makes ("www-data", "redis"), "nobody" for a program that owns
#     no files, or a number as "1000:1000".
package imx.rules.root_user

deny contains {"at": ["image", image.name, "user"], "message": message} if {
	some image in input.images
	user := object.get(image, "user", "")
	user in {"", "root", "0"}
	message := sprintf("image.%s runs as root%s", [image.name, said(user)])
}

deny contains {"at": ["image", image.name, "user"], "message": message} if {
	some image in input.images
	startswith(image.user, "0:")
	message := sprintf("image.%s runs as root: its user is %s", [image.name, image.user])
}

said("") := ": it names no user"

said(user) := sprintf(": its user is %s", [user]) if user != ""
