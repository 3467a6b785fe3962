# Varnish in front of a web server. So that the example stands alone, the page is Varnish's own; with a service of yours, write
# connect = [service.app.port.http] and give site.vcl its address.
#
# Varnish compiles its configuration to a library at each start, and loads that. In an instance nothing
# that can be written to can be executed, so the library is made beforehand and is part of the image, which then
# does without a compiler. Make it again for each new configuration and version, on a machine with both:
#   varnishd -C -f site.vcl 2>site.c && cc -shared -fpic -O2 -o site.so site.c
# The "compiler" that Varnish calls in the instance makes a link to it. Varnish has a shell call that, and rm, so
# dash and coreutils are asked for by name.

image "varnish" {
  packages = ["varnish", "dash", "coreutils"]
  without  = ["gcc", "libc6-dev"]
  # coreutils could convert texts of other countries' character sets; the compiler's stand-in has none.
  generated = ["!/usr/lib/*/gconv/**"]
  user      = "vcache"
  command = [
    "/usr/sbin/varnishd", "-F", "-j", "none", "-n", "/var/lib/varnish", "-a", ":8080", "-s", "malloc,32m",
    "-p", "cc_command=exec ln -sf /usr/lib/varnish/site.so %o", "-f", "/etc/varnish/site.vcl",
  ]

  file "/usr/lib/varnish/site.so" {
    content = file("site.so")
  }
  file "/etc/varnish/site.vcl" {
    content = file("site.vcl")
  }
}

service "varnish" {
  image = image.varnish

  port "http" {
    container = 8080
    publish   = 8080
  }
  tmpfs "/var/lib/varnish" { # the log that varnishlog reads, and locks
    size = "96MiB"
  }
  health {
    every = "500ms"
    http {
      port = "http"
    }
  }
  resources {
    cpu    = 0.5
    memory = "256MiB"
    pids   = 512 # threads: many, as each waits for one visitor
  }
}
