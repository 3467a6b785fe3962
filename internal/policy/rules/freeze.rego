# METADATA
# title: No freeze is on
# description: >-
#   It is no time in which nothing new is released, as the policy's `freezes` say. What was released may be started, scaled and gone back to
#   at any time.
# custom:
#   id: freeze
#   start: shows
package imx.policy.freeze

window := input.freeze.window

ends := input.freeze.until if window

starts if input.purpose == "start"

met if not window

met if starts

until := time.parse_rfc3339_ns(ends) if window

until := time.parse_rfc3339_ns(input.freeze.next) if not window

says := sprintf("nothing new is released before %s: freeze %s", [ends, window]) if {
	window
	not starts
}

else := sprintf("it was released before the freeze %s, which ends %s", [window, ends]) if window

else := "none is on"

hint := sprintf("wait until %s; or imx exception add freeze --service %s --until 2h --reason WHY", [ends, input.service]) if not met
