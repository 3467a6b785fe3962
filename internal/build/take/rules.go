package take

// The rules say which paths an image takes. They name places, never packages: where Debian's
// policy and its common tools put things is the same for all packages. They are written as Matches has it.

// forPeople are files that only people read. They aren't even unpacked: no script may need them
// (Debian policy 12.3), and they are a third of all files.
func forPeople() []string {
	return []string{
		"usr/share/doc/*/**", "usr/share/man/**", "usr/share/info/**", "usr/share/locale/*/**",
		"usr/share/lintian/**", "usr/share/bug/**", "usr/share/gtk-doc/**", "usr/share/help/**", "usr/share/groff/**",
	}
}

// ManualSections are the directories of manual pages. No page is unpacked there, but scripts make links
// there to pages that programs keep elsewhere.
func ManualSections() []string {
	var dirs []string
	for section := '1'; section <= '9'; section++ {
		dirs = append(dirs, "usr/share/man/man"+string(section))
	}
	return dirs
}

// neverShipped are files that no image takes, even where a package carries them: they are for people,
// for a shell at a terminal or for an init system, and an instance has none of these. Byte code is
// left out because it need not be the same twice; a template that wants programs to start sooner
// may take it with generated = ["/usr/lib/python3*/**/__pycache__/**"].
func neverShipped() []string {
	return append(
		append(forPeople(), sameZones()...), "usr/share/**/man/man?/**", "usr/share/**/LC_MESSAGES/**", "usr/share/locale/**", "usr/share/doc-base/**", "usr/share/apport/**", "usr/share/menu/**",
		"usr/share/bash-completion/**", "usr/share/zsh/**", "usr/share/fish/**", "usr/share/reportbug/**", "usr/share/vim/**",
		"etc/bash_completion.d/**", "etc/apport/**", "etc/init.d/**", "etc/rc?.d/**", "etc/init/**",
		"etc/logrotate.d/**", "etc/cron.*/**", "etc/insserv*/**", "etc/ufw/**", "etc/apparmor.d/**", "etc/sysctl.d/**",
		"etc/systemd/system/**", "etc/systemd/user/**", "etc/modprobe.d/**", "etc/udev/**",
		"usr/lib/systemd/system/**", "usr/lib/systemd/user/**", "usr/lib/systemd/system-preset/**", "usr/lib/systemd/user-preset/**",
		"usr/lib/systemd/system-generators/**", "usr/lib/systemd/system-sleep/**", "usr/lib/systemd/system-shutdown/**",
		"usr/lib/tmpfiles.d/**", "usr/lib/sysusers.d/**", "usr/lib/sysctl.d/**", "usr/lib/udev/rules.d/**", "usr/lib/modprobe.d/**",
		"usr/lib/modules-load.d/**", "usr/lib/init/**", "usr/lib/lsb/**", "usr/share/initramfs-tools/**",
		"usr/share/applications/**", "usr/share/metainfo/**", "usr/share/appdata/**", "usr/share/app-install/**",
		"**/__pycache__/**", "**/__pycache__", "**/*.pyc", "**/*.pyo",
	)
}

// alwaysShipped are exceptions from forPeople and neverShipped: licences ask to go with the files.
func alwaysShipped() []string {
	return []string{"usr/share/doc/*/copyright"}
}

// leftOut is what scripts and tools write that no image takes: databases of the package manager, caches,
// backups, secrets, identities and links that start services.
func leftOut() []string {
	return []string{
		"var/lib/dpkg/**", "var/lib/apt/**", "var/cache/**", "var/backups/**", "var/lib/ucf/**",
		"var/lib/systemd/**", "var/lib/pam/**", "var/lib/debconf/**", "var/lib/misc/**", "var/lib/emacsen-common/**",
		"var/lib/update-rc.d/**", "var/lib/wtmpdb/**", "var/lib/private/**", "var/lib/man-db/**",
		"tmp/**", "run/**", "dev/**", "proc/**", "sys/**", "root/**", "var/tmp/**",
		"etc/shadow", "etc/gshadow", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
		"etc/subuid", "etc/subgid", "etc/subuid-", "etc/subgid-", "etc/.pwd.lock", "etc/shells", "etc/.updated", "var/.updated",
		"etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/mailname", "etc/hosts", "etc/resolv.conf", "etc/mtab",
		"etc/adjtime", "etc/vconsole.conf", "etc/default/locale", "etc/locale.gen", "etc/networks",
		"etc/apt/**", "etc/apparmor.d/**", "etc/systemd/**", "etc/pam.d/**", "etc/ssl/private/**",
		"**/.bashrc", "**/.bash_logout", "**/.profile", // copies of etc/skel, which useradd makes in a home
		"etc/**/*.key", "etc/**/*_key", "etc/**/*_key.pub", // made by chance: each instance's own or none
		"etc/python*/debian_config", "var/lib/python/**", // how to make byte code, and that it was made
		"usr/share/info/dir", "usr/share/info/dir.old",
		"**/*.dpkg-new", "**/*.dpkg-old", "**/*.dpkg-dist", "**/*.dpkg-tmp", "**/*.ucf-old", "**/*.ucf-new", "**/*.ucf-dist",
	}
}

// leftOutFiles is as leftOut, but directories there are taken, because programs want them, and so
// are links to what the image has. A certificate that a script makes is a new one each time, and
// its key isn't taken.
func leftOutFiles() []string {
	return []string{"var/log/**", "etc/ssl/**"}
}

// taken is what scripts and triggers make from the packages' files that programs read at run time.
func taken() []string {
	return []string{
		"etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ld.so.cache", "etc/localtime", "etc/timezone",
		"etc/mailcap", "etc/ca-certificates.conf", "etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/java/cacerts", "etc/protocols", "etc/services",
		"etc/aliases", "etc/papersize",
		"usr/lib/locale/**", "usr/lib/*/gconv/gconv-modules.cache", "usr/lib/*/gio/modules/giomodule.cache",
		"usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache", "usr/share/glib-2.0/schemas/gschemas.compiled",
		"usr/lib/*/gtk-*/*/immodules.cache",
		"usr/share/mime/**", "usr/share/icons/*/icon-theme.cache", "etc/xml/**", "etc/sgml/**", "var/lib/xml-core/**", "var/lib/sgml-base/**",
	}
}

// companion are files that only certain programs use.
type companion struct{ programs, files []string }

// companions say which files are useless without which programs: the modules of languages without their
// interpreter, what compilers and checkers of types read without one (Debian's compilers all provide cc), and so on.
//
// They are a table, because nothing in such a file says who reads it: a module has no line as a script has, and
// an ELF file no list as of its libraries. What the table names isn't packages: it is the places that a language's
// or tool's own policy in Debian gives its program and what this reads, which no package may have differently
// (Debian's policies of Perl and of Python, the FHS of headers), so whoever brings them is meant. A program that is missing
// here costs space only, and a template keeps any of these files by naming them in generated.
func companions() []companion {
	return []companion{
		{[]string{"usr/bin/perl"}, []string{
			"usr/share/perl5/**", "usr/share/perl/**", "usr/lib/*/perl*/**", "usr/lib/*/perl-base/**", "etc/perl/**", "usr/**/*.pm",
		}},
		{[]string{"usr/bin/python3*", "usr/bin/gdb"}, []string{"usr/share/gcc/python/**", "usr/share/python3/**"}},
		{[]string{"usr/bin/gdb"}, []string{"usr/share/gdb/**"}},
		{[]string{"usr/bin/cc"}, []string{
			"usr/include/**", "usr/lib/**/*.a", "usr/lib/**/*.la", "usr/lib/*/*.o", "usr/lib/*/pkgconfig/**", "usr/share/pkgconfig/**",
			"usr/lib/*/cmake/**", "usr/share/cmake/**", "usr/share/aclocal/**",
		}},
		{[]string{"usr/lib/*/libLLVM*.so*"}, []string{"usr/lib/**/*.bc", "usr/lib/**/bitcode/**"}},
		{[]string{"usr/bin/tsc*"}, []string{"usr/share/nodejs/**/*.d.ts", "usr/share/nodejs/**/*.d.mts", "usr/share/nodejs/**/*.d.cts"}},
		{[]string{"usr/bin/rbs*", "usr/bin/typeprof*", "usr/bin/steep*"}, []string{"usr/lib/ruby/**/*.rbs", "usr/share/ruby*/**/*.rbs"}},
		{[]string{"usr/bin/localedef"}, []string{"usr/share/i18n/**"}},
		{[]string{"usr/sbin/ifup"}, []string{"etc/network/**"}},
		{[]string{"usr/sbin/dhclient"}, []string{"etc/dhcp/**"}},
		{[]string{"usr/bin/dbus-daemon", "usr/bin/dbus-broker"}, []string{"etc/dbus-1/**", "usr/share/dbus-1/**"}},
		{[]string{"usr/lib/polkit-1/polkitd"}, []string{"etc/polkit-1/**", "usr/share/polkit-1/**"}},
		{[]string{"usr/bin/tclsh*"}, []string{"usr/share/tcltk/**"}},
		{[]string{"usr/bin/emacs*"}, []string{"usr/share/emacs/**", "etc/emacs/**"}},
	}
}

// characterSets are the tables and modules from which the C library converts, other than ASCII and
// Unicode's own forms.
func characterSets() []string { return []string{"usr/lib/*/gconv/**"} }

// mainCharacterSets are the lists of those among them that libraries use.
func mainCharacterSets() []string { return []string{"usr/lib/*/gconv/gconv-modules"} }

// sameZones are the time zones again: under another name, and counting leap seconds as POSIX doesn't. No
// program asks for them unless somebody sets TZ to their names.
func sameZones() []string {
	return []string{"usr/share/zoneinfo/posix/**", "usr/share/zoneinfo/right/**"}
}

// packageManagers are programs that an image holds only if the package with them was asked for by name.
func packageManagers() []string {
	return []string{
		"usr/bin/dpkg", "usr/bin/dpkg-*", "usr/sbin/dpkg-*", "usr/sbin/start-stop-daemon",
		"usr/bin/apt", "usr/bin/apt-*", "usr/bin/aptitude", "usr/lib/apt/**", "usr/lib/dpkg/**",
	}
}
