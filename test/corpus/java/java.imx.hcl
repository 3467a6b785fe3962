# A Java runtime and a program that is compiled as it starts. Debian 13 has the newer Java, and
# images of one template may come from different releases of Debian.

archive "trixie" {
  suites = ["trixie", "trixie-updates", "trixie-security"]
}

image "java" {
  from     = archive.trixie
  packages = ["openjdk-21-jre-headless"]
  without  = ["openssl"] # for the scripts of ca-certificates
  # The first is for debuggers and agents where the locale isn't UTF-8, the second for heaps over 32 GiB.
  generated = ["!/usr/lib/*/gconv/**", "!/usr/lib/jvm/*/lib/server/classes_nocoops.jsa"]
  user      = "nobody"
  command = [
    "/usr/lib/jvm/java-21-openjdk-amd64/bin/java", "-XX:+UseSerialGC", "-Xshare:auto", "-m", "jdk.httpserver",
    "--bind-address", "0.0.0.0", "--port", "8000", "--directory", "/srv/www",
  ]

  file "/srv/www/index.html" {
    content = "Served by Java.\n"
  }
}

service "java" {
  image = image.java

  port "http" {
    container = 8000
    publish   = 8000
  }
  health {
    http {
      port = "http"
    }
  }
  resources {
    cpu    = 0.5
    memory = "192MiB"
    pids   = 64
  }
}
