package template

import (
	"time"

	"imx"
)

// templateBlock is the table: all that a template may say, but for locals, which have no
// settings of their own.
func templateBlock() *block {
	return &block{blocks: []*block{archiveBlock(), imageBlock(), serviceBlock(), ingressBlock(), testBlock(), waiverBlock()}}
}

func archiveBlock() *block {
	type A = imx.Archive
	return many(
		func(t *imx.Template) *[]A { return &t.Archives },
		func(a *A) *string { return &a.Name }, func(a *A) *imx.Pos { return &a.At },
		block{
			name: "archive", label: label("name", isName), sample: "debian",
			doc: "A signed Debian archive to take packages from. Without one, `archive.host` stands for the machine's own apt sources.",
			settings: []setting{
				field(oneString("string", isMirror), func(a *A) *string { return &a.Mirror }, setting{
					name: "mirror", unset: "the host's mirrors", example: `"file:///srv/debian"`,
					doc: "URL of the folder above `dists/`.",
				}),
				field(manyStrings(isSuite), func(a *A) *[]string { return &a.Suites }, setting{
					name: "suites", unset: "those of the host's sources", example: `["bookworm", "bookworm-security"]`,
					doc: "The suites to take packages from.",
				}),
				field(manyStrings(isSuite), func(a *A) *[]string { return &a.Components }, setting{
					name: "components", unset: "`main`", example: `["main"]`, doc: "The components of each suite.",
				}),
				field(bytesOf(maxText), func(a *A) *[]byte { return &a.Keyring }, setting{
					name: "keyring", unset: "Debian's keyring", example: `file("archive.asc")`,
					doc: "The OpenPGP public keys that sign the archive.",
				}),
				field(truth(), func(a *A) *bool { return &a.Expired }, setting{
					name: "expired", unset: "`false`", example: `true`,
					doc: "Take indexes past their `Valid-Until`, as snapshots of an archive have them. An older one than was seen is still refused.",
				}),
			},
		})
}

func imageBlock() *block {
	type I = imx.ImageSpec
	return many(
		func(t *imx.Template) *[]I { return &t.Images },
		func(i *I) *string { return &i.Name }, func(i *I) *imx.Pos { return &i.At },
		block{
			name: "image", label: label("name", isName), sample: "web",
			doc: "An image: packages and files, and nothing else; no shell and no package manager unless they are named.",
			settings: []setting{
				field(oneOrMore("archive"), func(i *I) *imx.Names { return &i.From }, setting{
					name: "from", unset: "`archive.host`", example: `archive.debian`,
					doc: "The archive to take packages from, or a list of several.",
				}),
				field(manyStrings(isPackage), func(i *I) *[]string { return &i.Packages }, setting{
					name: "packages", unset: "none", example: `["nginx-light", "tzdata"]`,
					doc: "Debian packages, each a name, `name=version` or `name/suite`; what they depend on comes with them.",
				}),
				field(truth(), func(i *I) *bool { return &i.Recommends }, setting{
					name: "recommends", unset: "`false`", example: `true`,
					doc: "Whether what the packages recommend comes with them too, as far as it can be had.",
				}),
				field(manyStrings(isPackageName), func(i *I) *[]string { return &i.Without }, setting{
					name: "without", unset: "none", example: `["iproute2"]`,
					doc: "Packages that the image does without, though others depend on them; what only they need stays out too.",
				}),
				field(oneString("string", isUser), func(i *I) *string { return &i.User }, setting{
					name: "user", unset: "root", example: `"www-data"`, doc: "Who runs the command: a user's name, or `uid` or `uid:gid`.",
				}),
				field(manyStrings(isArgument), func(i *I) *[]string { return &i.Command }, setting{
					name: "command", unset: "the service must have one", example: `["/usr/sbin/nginx", "-g", "daemon off;"]`,
					doc: "The program and its arguments. No shell reads it.",
				}),
				field(variables(), func(i *I) *map[string]string { return &i.Environment }, setting{
					name: "environment", unset: "none", example: `{ TZ = "UTC" }`, doc: "Environment variables.",
				}),
				field(oneString("string", isPath), func(i *I) *string { return &i.WorkDir }, setting{
					name: "workdir", unset: "`/`", example: `"/var/www"`, doc: "The folder in which the command starts.",
				}),
				field(oneString("string", isSignal), func(i *I) *string { return &i.StopSignal }, setting{
					name: "stop_signal", unset: "`SIGTERM`", example: `"SIGQUIT"`, doc: "The signal that asks the command to end.",
				}),
				field(manyStrings(isListedPath), func(i *I) *[]string { return &i.Setuid }, setting{
					name: "setuid", unset: "none", example: `["/usr/bin/ping"]`,
					doc: "Files that keep their setuid or setgid bit; all others lose it.",
				}),
				field(manyStrings(isGlob), func(i *I) *[]string { return &i.Generated }, setting{
					name: "generated", unset: "none", example: `["/var/lib/app/*"]`,
					doc: "Patterns of further paths to take, of those that packages' scripts make while the image is built or that imx leaves out by its rules; one that begins with `!` leaves out instead, also what packages carry.",
				}),
				field(oneString("string", isCompression), func(i *I) *string { return &i.Compression }, setting{
					name: "compression", unset: "`zstd`", example: `"gzip"`,
					doc: "How its layers are compressed: `zstd`, or `gzip` for old programs that pull it.",
				}),
			},
			blocks: []*block{
				fileBlock(func(i *I) *[]imx.File { return &i.Files }, "/etc/nginx/nginx.conf", "A file in the image.", 0o7777),
				many(
					func(i *I) *[]imx.Directory { return &i.Directories },
					func(d *imx.Directory) *string { return &d.Path }, func(d *imx.Directory) *imx.Pos { return &d.At },
					block{
						name: "directory", label: label("path", isPath), sample: "/var/lib/site", doc: "An empty folder in the image.",
						settings: []setting{
							modeSetting(func(d *imx.Directory) *imx.Mode { return &d.Mode }, 0o7777, setting{def: `"0755"`}),
							ownerSetting(func(d *imx.Directory) *string { return &d.Owner }, "root"),
						},
					}),
			},
		})
}

func fileBlock[P any](list func(*P) *[]imx.File, sample, doc string, most imx.Mode) *block {
	type F = imx.File
	return many(list,
		func(f *F) *string { return &f.Path }, func(f *F) *imx.Pos { return &f.At },
		block{
			name: "file", label: label("path", isPath), sample: sample, doc: doc,
			settings: []setting{
				field(bytesOf(maxTotal), func(f *F) *[]byte { return &f.Content }, setting{
					name: "content", need: required, example: `file("nginx.conf")`,
					doc: "What is in it: text, or the bytes of a file of the template's folder through `file()`.",
				}),
				modeSetting(func(f *F) *imx.Mode { return &f.Mode }, most, setting{def: `"0644"`}),
				ownerSetting(func(f *F) *string { return &f.Owner }, "root"),
			},
		})
}

func modeSetting[T any](at func(*T) *imx.Mode, most imx.Mode, s setting) setting {
	s.name, s.example, s.doc = "mode", `"0750"`, "Permission bits, in octal and in quotes."
	return field(mode(most), at, s)
}

func ownerSetting[T any](at func(*T) *string, unset string) setting {
	return field(oneString("string", isOwner), at, setting{
		name: "owner", unset: unset, example: `"www-data"`, doc: "The user that it belongs to, by name.",
	})
}

func serviceBlock() *block {
	type S = imx.Spec
	return many(
		func(t *imx.Template) *[]S { return &t.Services },
		func(s *S) *string { return &s.Name }, func(s *S) *imx.Pos { return &s.At },
		block{
			name: "service", label: label("name", isName), sample: "web",
			doc:      "A service: instances of an image that all have the same settings. Others reach it by its name, if they connect to it.",
			settings: serviceSettings(),
			blocks: []*block{
				portBlock(),
				healthBlock(),
				deployBlock(),
				fileBlock(func(s *S) *[]imx.File { return &s.Files }, "/etc/web.conf",
					"A file in each instance, read-only: configuration that belongs to the release and not to the image.", 0o777),
				tmpfsBlock(),
				volumeBlock(),
				resourcesBlock(),
				routeBlock(),
				scaleBlock(),
			},
		})
}

func serviceSettings() []setting {
	type S = imx.Spec
	const hour = time.Hour
	return []setting{
		field(reference("image"), func(s *S) *string { return &s.Image }, setting{
			name: "image", need: required, example: `image.web`, doc: "The image that its instances run.",
		}),
		field(whole(1, maxReplicas), func(s *S) *int { return &s.Replicas }, setting{
			name: "replicas", need: filled, def: `1`, example: `3`, doc: "How many instances run; with `scale`, how many it begins with, brought within its bounds.",
		}),
		field(manyStrings(isArgument), func(s *S) *[]string { return &s.Command }, setting{
			name: "command", unset: "the image's", example: `["/usr/sbin/nginx", "-g", "daemon off;"]`,
			doc: "The program and its arguments, in place of the image's.",
		}),
		field(variables(), func(s *S) *map[string]string { return &s.Environment }, setting{
			name: "environment", unset: "the image's", example: `{ APP = service.app.port.http.address }`,
			doc: "Environment variables, laid over the image's.",
		}),
		field(portRefs(), func(s *S) *[]imx.PortRef { return &s.Connect }, setting{
			name: "connect", unset: "none", example: `[service.app.port.http]`,
			doc: "Ports of other services that its instances may reach. Everything else is denied.",
		}),
		field(duration(0, hour), func(s *S) *imx.Duration { return &s.Drain }, setting{
			name: "drain", need: filled, def: `"10s"`, example: `"30s"`,
			doc: "How long an instance that gets no new traffic may finish what it began.",
		}),
		field(duration(0, hour), func(s *S) *imx.Duration { return &s.Grace }, setting{
			name: "grace", need: filled, def: `"10s"`, example: `"5s"`, doc: "How long it then has from the stop signal to SIGKILL.",
		}),
		field(duration(time.Second, 24*hour), func(s *S) *imx.Duration { return &s.Deadline }, setting{
			name: "deadline", need: filled, def: `"60s"`, example: `"2m"`,
			doc: "By when a new release must be healthy; if it isn't, it has failed and the last good one stays.",
		}),
	}
}

func portBlock() *block {
	type P = imx.Port
	return many(
		func(s *imx.Spec) *[]P { return &s.Ports },
		func(p *P) *string { return &p.Name }, func(p *P) *imx.Pos { return &p.At },
		block{
			name: "port", label: label("name", isName), sample: "http",
			doc: "A TCP port that the instances listen on. Other services write it `service.web.port.http`.",
			settings: []setting{
				field(whole(1, 65535), func(p *P) *int { return &p.Container }, setting{
					name: "container", need: required, example: `8080`, doc: "The port inside the instance.",
				}),
				field(whole(1, 65535), func(p *P) *int { return &p.Publish }, setting{
					name: "publish", unset: "not published", example: `8080`, doc: "The port on the machine's own addresses.",
				}),
			},
		})
}

func tmpfsBlock() *block {
	type T = imx.Tmpfs
	return many(
		func(s *imx.Spec) *[]T { return &s.Tmpfs },
		func(t *T) *string { return &t.Path }, func(t *T) *imx.Pos { return &t.At },
		block{
			name: "tmpfs", label: label("path", isPath), sample: "/var/lib/nginx",
			doc: "A writable folder in memory that ends with its instance; programs can't be run from it.",
			settings: []setting{
				field(size(4<<10, 1<<40), func(t *T) *imx.Size { return &t.Size }, setting{
					name: "size", need: required, example: `"16MiB"`, doc: "The most that it may hold. It counts as the instance's memory.",
				}),
				modeSetting(func(t *T) *imx.Mode { return &t.Mode }, 0o1777, setting{unset: "`\"0700\"`, and `\"1777\"` for /tmp"}),
				ownerSetting(func(t *T) *string { return &t.Owner }, "the image's user"),
			},
		})
}

func volumeBlock() *block {
	type V = imx.Volume
	return many(
		func(s *imx.Spec) *[]V { return &s.Volumes },
		func(v *V) *string { return &v.Name }, func(v *V) *imx.Pos { return &v.At },
		block{
			name: "volume", label: label("name", isName), sample: "data",
			doc: "A folder that outlives instances. It has one holder: the service has one replica and is replaced stop-then-start.",
			settings: []setting{
				field(oneString("string", isPath), func(v *V) *string { return &v.Path }, setting{
					name: "path", need: required, example: `"/var/lib/data"`, doc: "Where it stands in the instance.",
				}),
				ownerSetting(func(v *V) *string { return &v.Owner }, "the image's user"),
			},
		})
}

func resourcesBlock() *block {
	type R = imx.Resources
	return one(
		func(s *imx.Spec) *R { return &s.Resources },
		block{
			name: "resources", doc: "The limits of each instance.",
			settings: []setting{
				field(fraction(0.01, 1024), func(r *R) *float64 { return &r.CPU }, setting{
					name: "cpu", def: `1.0`, example: `0.5`, doc: "Processor cores.",
				}),
				field(size(4<<20, 1<<44), func(r *R) *imx.Size { return &r.Memory }, setting{
					name: "memory", def: `"256MiB"`, example: `"64MiB"`, doc: "Memory; an instance that takes more is killed.",
				}),
				// 4194304 is PID_MAX_LIMIT, the most that Linux has on 64 bits.
				field(whole(1, 4194304), func(r *R) *int { return &r.Pids }, setting{
					name: "pids", def: `256`, example: `64`, doc: "Processes and threads.",
				}),
			},
		})
}

func waiverBlock() *block {
	type W = imx.Waiver
	return many(
		func(t *imx.Template) *[]W { return &t.Waivers },
		func(w *W) *string { return &w.Rule }, func(w *W) *imx.Pos { return &w.At },
		block{
			name: "waiver", label: label("rule", isRule), sample: "public-port-without-tls",
			doc: "Excuses what a rule of `imx check` finds, for a reason, until a day. `imx rules` lists the rules.",
			settings: []setting{
				field(things(), func(w *W) *[]string { return &w.For }, setting{
					name: "for", unset: "the whole template", example: `[service.web]`,
					doc: "The services, images or archives that it excuses; a file that isn't a template by its path, in quotes.",
				}),
				field(oneString("string", isReason), func(w *W) *string { return &w.Reason }, setting{
					name: "reason", need: required, example: `"TLS ends at the balancer in front"`, doc: "Why the risk is taken.",
				}),
				field(day(), func(w *W) *time.Time { return &w.Until }, setting{
					name: "until", need: required, example: `"2027-03-01"`, doc: "The day (UTC) from which on it no longer excuses.",
				}),
			},
		})
}
