# METADATA
# title: It is known which commit the template is of
# description: >-
#   The template is that of a commit, without changes beside it, unless the policy's `dirty` allows folders. With `signedCommits` the
#   server itself saw the commit in a repository that it follows, signed by somebody whom it knows, and so is each other commit that is new
#   since what runs. With `signedSources` that is asked of followed repositories alone.
# custom:
#   id: source
#   start: shows
package imx.policy.source

commit := input.plan.source.commit

dirty if input.plan.source.dirty

folder if not commit

folder if dirty

lacking contains "the template's folder is in no Git repository" if {
	not data.settings.dirty
	not commit
}

changes := object.get(input.plan.source, "changes", [])

differs := concat(": ", array.concat(["the template's folder differs from its commit"], [concat(", ", changes) | count(changes) > 0]))

lacking contains differs if {
	not data.settings.dirty
	dirty
}

lacking contains "the server itself saw no such commit in a repository that it follows" if {
	data.settings.signedCommits
	not input.commit
}

lacking contains sprintf("the commit isn't signed by anybody known: %s", [object.get(input.commit, "unsigned", "no signature")]) if {
	asks_signed
	unsigned
}

asks_signed if data.settings.signedCommits

asks_signed if data.settings.signedSources

unsigned if {
	input.commit
	not input.commit.signer
}

# it, or another commit that is new
unsigned if object.get(input, ["commit", "unsigned"], "") != ""

met if count(lacking) == 0

short := substring(commit, 0, 12)

says := sprintf("commit %s, signed by %s", [short, input.commit.signer]) if {
	met
	not unsigned
}

else := sprintf("commit %s with changes", [short]) if {
	met
	dirty
}

else := sprintf("commit %s", [short]) if {
	met
	commit
}

else := "a folder that is in no Git repository" if met

else := concat("; ", sort(lacking))

hint := "sign each commit that is new, with a key of somebody with the role author, and push: imx person add NAME --role author --key FILE" if {
	not met
	asks_signed
	unsigned
}

else := "commit imx.lock, which pins the packages that were chosen, and apply again" if {
	not met
	not data.settings.signedCommits
	count(changes) == 1
	startswith(changes[0], "imx.lock ")
}

else := "commit all that the template reads, files that Git ignores too (git add --force), and apply that" if {
	not met
	not data.settings.signedCommits
}

else := "sign the commit, push it, and follow its repository: imx source add URL" if {
	not met
	data.settings.signedCommits
}
