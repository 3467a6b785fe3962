# METADATA
# title: It is known who brought the plan
# description: >-
#   Somebody known brought the plan, from an account of the server's machine that is a login of theirs, or the server itself saw its commit in
#   a repository that it follows. Whoever is behind another account, such as root's own, could approve work of their own. It is asked for
#   where `reviews` are, or `knownAuthor`, and refuses with the latter alone.
# custom:
#   id: author
#   start: shows
#   refuses: knownAuthor
package imx.policy.author

asked if data.settings.reviews > 0

asked if data.settings.knownAuthor

known if input.commit

known if input.plan.person

met if known

met if not asked

says := "the server itself saw its commit in a repository that it follows" if input.commit

else := sprintf("%s brought it", [input.plan.person]) if input.plan.person

else := sprintf("%s brought it, who is nobody that imx knows", [input.plan.by])

hint := "log in by name and use sudo, and say whose login that is: imx person add NAME --login ACCOUNT; or follow a repository: imx source add URL" if not met
