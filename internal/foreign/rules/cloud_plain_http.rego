# METADATA
# title: A balancer that serves without TLS
# description: >-
#   A listener of a load balancer speaks HTTP and does not redirect to HTTPS.
# custom:
#   id: cloud-plain-http
#   severity: medium
#   why: >-
#     What is sent can be read and changed on its way.
#   fix: >-
#     Make its default action a redirect to HTTPS.
package imx.cloud.cloud_plain_http

import data.imx.cloud.lib

deny contains {"at": [r.i, "protocol"], "message": message} if {
	some kind in ["aws_lb_listener", "aws_alb_listener"]
	some r in lib.resource(kind, "")
	r.values.protocol == "HTTP"
	not redirects(r.values)
	message := sprintf("the listener %s speaks HTTP", [r.name])
}

deny contains {"at": [r.i, "Protocol"], "message": message} if {
	some r in lib.resource("", "AWS::ElasticLoadBalancingV2::Listener")
	r.values.Protocol == "HTTP"
	not redirects(r.values)
	message := sprintf("the listener %s speaks HTTP", [r.name])
}

redirects(values) if {
	some action in values.default_action
	action.type == "redirect"
}

redirects(values) if {
	some action in values.DefaultActions
	action.Type == "redirect"
}
