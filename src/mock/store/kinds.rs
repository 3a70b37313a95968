//! The table of collections: what their resources are called and what can be done with them. Pure.

/// One collection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mock) struct Kind {
    /// Its path; `*` stands for the id of what it belongs to.
    pub(in crate::mock) path: &'static str,
    /// The field `object` of its resources.
    pub(in crate::mock) object: &'static str,
    /// What errors call one.
    pub(in crate::mock) noun: &'static str,
    /// What ids begin with.
    pub(in crate::mock) prefix: &'static str,
    /// `c` create, `l` list, `g` get, `u` update, `d` delete.
    verbs: &'static str,
    /// What a resource is, in turn, each time it is looked at.
    pub(in crate::mock) states: &'static [&'static str],
}

/// What is done to a collection or to one of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mock) enum Verb {
    Create,
    List,
    Get,
    Update,
    Delete,
}

impl Kind {
    pub(in crate::mock) fn allows(&self, verb: Verb) -> bool {
        let letter = match verb {
            Verb::Create => 'c',
            Verb::List => 'l',
            Verb::Get => 'g',
            Verb::Update => 'u',
            Verb::Delete => 'd',
        };
        self.verbs.contains(letter)
    }

    /// Whether nothing more will come of a resource in this state.
    pub(in crate::mock) fn is_final(&self, status: &str) -> bool {
        let ended = ["cancelled", "completed", "succeeded", "failed", "expired", "incomplete"];
        self.states.last() == Some(&status) || ended.contains(&status)
    }
}

/// The collection at a path.
pub(in crate::mock) fn collection(segments: &[&str]) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| {
        let parts = kind.path.split('/');
        parts.clone().count() == segments.len()
            && parts.zip(segments).all(|(part, segment)| part == "*" || part == *segment)
    })
}

const fn kind(
    path: &'static str,
    object: &'static str,
    [noun, prefix, verbs]: [&'static str; 3],
    states: &'static [&'static str],
) -> Kind {
    Kind { path, object, noun, prefix, verbs, states }
}

const RUN: &[&str] = &["queued", "in_progress", "completed"];
const ADDED: &[&str] = &["in_progress", "completed"];
const BATCH: &[&str] = &["validating", "in_progress", "finalizing", "completed"];
const TUNED: &[&str] = &["validating_files", "queued", "running", "succeeded"];
const NONE: &[&str] = &[];

#[rustfmt::skip] // a table
const KINDS: &[Kind] = &[
    kind("responses", "response", ["response", "resp_", "gd"], RUN),
    kind("chat/completions", "chat.completion", ["chat completion", "chatcmpl-", "lgud"], NONE),
    kind("conversations", "conversation", ["conversation", "conv_", "cgud"], NONE),
    kind("conversations/*/items", "conversation.item", ["item", "msg_", "clgd"], NONE),
    kind("files", "file", ["file", "file-", "clgd"], NONE),
    kind("uploads", "upload", ["upload", "upload_", "cg"], NONE),
    kind("uploads/*/parts", "upload.part", ["part", "part_", "c"], NONE),
    kind("batches", "batch", ["batch", "batch_", "clg"], BATCH),
    kind("vector_stores", "vector_store", ["vector store", "vs_", "clgud"], ADDED),
    kind("vector_stores/*/files", "vector_store.file", ["file", "", "clgud"], ADDED),
    kind("vector_stores/*/file_batches", "vector_store.files_batch", ["file batch", "vsfb_", "cg"], ADDED),
    kind("assistants", "assistant", ["assistant", "asst_", "clgud"], NONE),
    kind("threads", "thread", ["thread", "thread_", "cgud"], NONE),
    kind("threads/*/messages", "thread.message", ["message", "msg_", "clgud"], NONE),
    kind("threads/*/runs", "thread.run", ["run", "run_", "clgu"], RUN),
    kind("threads/*/runs/*/steps", "thread.run.step", ["run step", "step_", "lg"], NONE),
    kind("fine_tuning/jobs", "fine_tuning.job", ["fine-tune job", "ftjob-", "clg"], TUNED),
    kind("containers", "container", ["container", "cntr_", "clgd"], NONE),
    kind("containers/*/files", "container.file", ["file", "cfile_", "clgd"], NONE),
    kind("evals", "eval", ["eval", "eval_", "clgud"], NONE),
    kind("evals/*/runs", "eval.run", ["run", "evalrun_", "clgd"], RUN),
    kind("videos", "video", ["video", "video_", "clgd"], RUN),
];

#[cfg(test)]
mod tests {
    use crate::mock::store::kinds::collection;

    #[test]
    fn a_path_is_of_one_collection() {
        let object = |segments: &[&str]| collection(segments).map(|kind| kind.object);
        assert_eq!(object(&["threads", "t", "runs"]), Some("thread.run"));
        assert_eq!(object(&["threads", "t"]), None);
        assert_eq!(object(&["fine_tuning", "jobs"]), Some("fine_tuning.job"));
    }
}
