# A single etcd member with its data in a volume.

image "etcd" {
  packages = ["etcd-server"]
  user     = "etcd"
  command = [
    "/usr/bin/etcd", "--name=etcd", "--data-dir=/var/lib/etcd/default",
    "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://etcd:2379",
    "--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn",
  ]
}

service "etcd" {
  image = image.etcd

  port "client" {
    container = 2379
    publish   = 2379
  }
  volume "data" {
    path = "/var/lib/etcd"
  }
  health {
    http {
      port = "client"
      path = "/health"
    }
  }
  resources {
    cpu    = 0.5
    memory = "128MiB"
    pids   = 32
  }
}
