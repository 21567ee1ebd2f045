package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// An action is what a GitHub Action or a job of a workflow has, as far as it is used here.
type action struct {
	Inputs map[string]struct {
		Required bool
		Default  string
	}
	Runs struct {
		Using string
		Steps []actionStep
	}
	Jobs map[string]struct{ Steps []actionStep }
}

type actionStep struct {
	ID, Name, Uses, Shell, Run string
	With, Env                  map[string]string
}

func readYAML(t *testing.T, text []byte) (a action) {
	t.Helper()
	if err := yaml.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAction runs the step of ci/action.yml that compares, with a program that is not nlmmap, and looks whether the rest
// fits together. That the service takes it can only be tried there.
func TestAction(t *testing.T) {
	dir, err := filepath.Abs("../../ci")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	a := readYAML(t, text)
	if a.Runs.Using != "composite" || !a.Inputs["image"].Required || !a.Inputs["kernel"].Required {
		t.Errorf("%+v", a)
	}
	for _, m := range regexp.MustCompile(`inputs\.(\w+)`).FindAllSubmatch(text, -1) {
		if _, ok := a.Inputs[string(m[1])]; !ok {
			t.Errorf("no input %s", m[1])
		}
	}
	for _, step := range a.Runs.Steps {
		if step.Run == "" {
			continue
		}
		if step.Shell != "bash" || strings.Contains(step.Run, "${{") {
			t.Errorf("%s: runs with shell %q, or pastes values into its commands", step.Name, step.Shell)
		}
		if out, err := exec.Command("bash", "-n", "-c", step.Run).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", step.Name, err, out)
		}
	}
	compare := a.Runs.Steps[slices.IndexFunc(a.Runs.Steps, func(s actionStep) bool { return s.ID == "compare" })]
	for code, want := range map[string]string{"0": "same", "1": "changed", "2": "error", "3": "interrupted"} {
		work := tree(t, map[string]string{"image": "", "vendor.kernel": "", "out": "", "summary": "",
			"fake": "#!/bin/sh\necho \"$@\"\nexit " + code + "\n"})
		if err := os.Chmod(filepath.Join(work, "fake"), 0o755); err != nil {
			t.Fatal(err)
		}
		inputs := map[string]string{"image": "image", "kernel": "vendor.kernel", "nlmmap": "./fake"}
		cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", compare.Run)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GITHUB_ACTION_PATH="+dir, "GITHUB_OUTPUT=out", "GITHUB_STEP_SUMMARY=summary")
		for name, value := range compare.Env {
			input := strings.TrimSuffix(strings.TrimPrefix(value, "${{ inputs."), " }}")
			given, ok := inputs[input]
			if !ok {
				given = a.Inputs[input].Default
			}
			cmd.Env = append(cmd.Env, name+"="+given)
		}
		printed, _ := cmd.CombinedOutput()
		out, _ := os.ReadFile(filepath.Join(work, "out"))
		summary, _ := os.ReadFile(filepath.Join(work, "summary"))
		if string(out) != "result="+want+"\n" || !strings.Contains(string(summary), "--boot") ||
			cmd.ProcessState.ExitCode() != int(code[0]-'0') {
			t.Errorf("nlmmap ends with %s: %v, %q, summary\n%s\nprinted\n%s", code, cmd.ProcessState, out, summary, printed)
		}
	}
}

// TestWorkflow: the workflow in docs/ci.md gives the action what it takes.
func TestWorkflow(t *testing.T) {
	page, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatal("no workflow in docs/ci.md")
	}
	manifest, err := os.ReadFile("../../ci/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	a := readYAML(t, manifest)
	uses := 0
	for _, job := range readYAML(t, []byte(text)).Jobs {
		for _, step := range job.Steps {
			if !strings.Contains(step.Uses, "/ci@") {
				continue
			}
			uses++
			for name := range step.With {
				if _, ok := a.Inputs[name]; !ok {
					t.Errorf("the action has no input %s", name)
				}
			}
			for name, input := range a.Inputs {
				if input.Required && step.With[name] == "" {
					t.Errorf("the action is not given %s", name)
				}
			}
		}
	}
	if uses != 1 {
		t.Errorf("the action is used %d times", uses)
	}
}
