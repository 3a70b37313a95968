//! One Realtime session: what the client says, what it is answered, and how long that takes.
//!
//! Each `response.create` meets the fault that is set when it arrives, like a request of its own.

use crate::mock::backend::Backend;
use crate::mock::behaviour::Pace;
use crate::mock::effect::Effect;
use crate::mock::ledger::{Outcome, Visit};
use crate::mock::realtime::events::{Answer, created, delta, ending, error, event, opening};
use crate::mock::script::{Ending, Mishap, Stage};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// A session whose handshake was answered.
pub(in crate::mock) struct Session {
    pub(in crate::mock) upgrade: OnUpgrade,
    pub(in crate::mock) backend: Arc<Backend>,
    pub(in crate::mock) model: String,
    pub(in crate::mock) visit: Visit,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// The client has gone.
    Gone,
    /// A fault destroys it.
    Cut,
    /// A fault falls silent.
    Silent,
}

impl Session {
    /// Runs it until either side ends it.
    pub(in crate::mock) async fn run(self) {
        let Ok(upgraded) = self.upgrade.await else { return };
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        self.visit.streams();
        let mut talk = Talk { socket, backend: self.backend, visit: self.visit };
        if talk.say(&created(&self.model)).await.is_err() {
            return;
        }
        talk.run().await;
    }
}

struct Talk {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    backend: Arc<Backend>,
    visit: Visit,
}

impl Talk {
    async fn run(&mut self) {
        while let Some(Ok(message)) = self.socket.next().await {
            let answered = match message {
                Message::Text(text) => self.answer(&text).await,
                Message::Binary(bytes) => self.send(Message::Binary(bytes)).await,
                Message::Close(_) => {
                    self.visit.end(Outcome::Completed);
                    Ok(())
                }
                // The library answers pings by itself.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            };
            match answered {
                Ok(()) => {}
                Err(Over::Gone) => return,
                Err(Over::Cut) => return self.visit.end(Outcome::Faulted),
                // Reading on is how the end of the client is noticed.
                Err(Over::Silent) => while let Some(Ok(_)) = self.socket.next().await {},
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        self.socket.send(message).await.map_err(|_| Over::Gone)
    }

    async fn say(&mut self, event: &Value) -> Result<(), Over> {
        self.send(Message::text(event.to_string())).await
    }

    async fn say_all(&mut self, events: &[Value]) -> Result<(), Over> {
        for event in events {
            self.say(event).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, text: &str) -> Result<(), Over> {
        let Ok(asked) = serde_json::from_str::<Value>(text) else {
            let message = "The server could not parse your event as JSON.";
            return self.say(&error("invalid_request_error", "invalid_json", message)).await;
        };
        match asked.get("type").and_then(Value::as_str) {
            Some("response.create") => self.respond(text).await,
            Some("session.update") => {
                let session = asked.get("session").cloned().unwrap_or_default();
                self.say(&event("session.updated", json!({"session": session}))).await
            }
            Some(_) => {
                let item = asked.get("item").cloned().unwrap_or_else(|| json!({}));
                let fields = json!({"item": item, "previous_item_id": null, "echo": asked});
                self.say(&event("conversation.item.created", fields)).await
            }
            None => {
                let message = "Missing required parameter: 'type'.";
                self.say(&error("invalid_request_error", "missing_required_parameter", message))
                    .await
            }
        }
    }

    async fn respond(&mut self, text: &str) -> Result<(), Over> {
        let (pace, end) = match self.backend.effect() {
            Effect::Answer(pace, end) => (pace, end),
            Effect::Refuse(refusal) => {
                let message = refusal.body.pointer("/error/message").and_then(Value::as_str);
                let code = refusal.status.as_u16().to_string();
                let error = error("server_error", &code, message.unwrap_or("It failed."));
                return self.say(&error).await;
            }
            Effect::Hang => return Err(Over::Silent),
            Effect::Cut(_) | Effect::HalfRefuse(..) => return Err(Over::Cut),
        };
        let prompt = u32::try_from(text.len() / 4).unwrap_or(u32::MAX);
        let answer = Answer::new(prompt, self.backend.behaviour().tokens);
        self.speak(&answer, pace, &end).await
    }

    /// One answer on the clock, up to its ending.
    async fn speak(&mut self, answer: &Answer, pace: Pace, end: &Ending) -> Result<(), Over> {
        let (timing, arrival) = (self.backend.timing(pace), Instant::now());
        if *end == Ending::Hang(Stage::Headers) {
            return Err(Over::Silent);
        }
        sleep_until(arrival + timing.headers).await;
        let begun = json!({"response": answer.response("in_progress")});
        self.say(&event("response.created", begun)).await?;
        if let Ending::Error(mishap) = end {
            return self.fail(answer, *mishap).await;
        }
        if *end == Ending::Hang(Stage::Filter) {
            return Err(Over::Silent);
        }
        self.say_all(&opening(answer)).await?;
        let said = match end {
            Ending::Hang(_) => return Err(Over::Silent),
            Ending::Truncated(after) => (*after).min(answer.tokens),
            Ending::Empty => 0,
            Ending::Whole | Ending::Error(_) => answer.tokens,
        };
        for index in 0..said {
            sleep_until(arrival + timing.token(index)).await;
            self.say(&delta(answer, index)).await?;
            self.visit.tokens(1);
        }
        match end {
            Ending::Truncated(_) => Err(Over::Cut),
            Ending::Whole | Ending::Empty | Ending::Hang(_) | Ending::Error(_) => {
                self.say_all(&ending(answer)).await
            }
        }
    }

    async fn fail(&mut self, answer: &Answer, mishap: Mishap) -> Result<(), Over> {
        let (code, message) = mishap.words();
        self.say(&error("server_error", code, message)).await?;
        let mut response = answer.response("failed");
        let details = json!({"type": "failed", "error": {"type": "server_error", "code": code}});
        if let Some(fields) = response.as_object_mut() {
            fields.insert("status_details".to_owned(), details);
        }
        self.say(&event("response.done", json!({"response": response}))).await
    }
}
