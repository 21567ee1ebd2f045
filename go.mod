module nlmmap

go 1.25

require (
	github.com/cavaliergopher/cpio v1.0.1
	github.com/google/go-cmp v0.7.0
	github.com/rogpeppe/go-internal v1.14.1
	golang.org/x/net v0.47.0
	golang.org/x/sys v0.38.0
	pgregory.net/rapid v1.3.0
)

require golang.org/x/tools v0.39.0

require github.com/jstemmer/go-junit-report/v2 v2.1.0

require go.yaml.in/yaml/v3 v3.0.6
