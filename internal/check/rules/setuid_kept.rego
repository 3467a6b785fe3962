# METADATA
# title: A file keeps its setuid or setgid bit
# description: "`setuid` of an image names files."
# custom:
#   id: setuid-kept
#   severity: high
#   why: >-
#     Such a program runs with the rights of its owner, most often root, whoever starts it. Instances run without the right
#     to gain privileges, so that the bit has no effect there; elsewhere the image gives it away.
#   fix: >-
#     Leave it out: in an instance of imx it changes nothing. Where the image is for other machines too, say in
#     a waiver for which.
package imx.rules.setuid_kept

deny contains {"at": ["image", image.name, "setuid", i], "message": message} if {
	some image in input.images
	some i, path in image.setuid
	message := sprintf("image.%s lets %s keep its setuid bit", [image.name, path])
}
