// Types of what travels between the server (her/ui/requests.py, her/ui/answers.py) and the browser modules.
// Only the type checker reads this file: `npm run check`.

export type Language = "en" | "zh";
export type PanelKind = "role_thinking" | "system_thinking";
export type ExportFormat = "jsonl" | "markdown" | "sharegpt";
export type Thumb = -1 | 1;
export type StageKind = "stage" | "scene";
export type NextSpeaker = "manual" | "round_robin" | "mention" | "model";

// ---- ratings -----------------------------------------------------------------------------------------------

/** Rating of one turn or of a chat; `stars` maps the id of a dimension to 1..5. */
export interface Rating {
  thumb: Thumb | null;
  stars: Record<string, number>;
  tags: string[];
  comment: string;
  rubric?: string;
}

/** How a layer of a turn stood before the person; `ms` is how long it was in view since the page was loaded. */
export interface LayerSight {
  open: boolean;
  in_view: boolean;
  ms: number;
}

export type Layer = "chat" | "turn" | "system_thinking" | "role_thinking" | "role_action" | "speech";
/** The turn with the layers that it has, or the chat. */
export type Sights = Partial<Record<Layer, LayerSight>>;

/** What the person saw when they rated or chose a turn: `Seen` of her/store/records.py. */
export interface Seen {
  version: 2;
  role_thinking: boolean;
  system_thinking: boolean;
  opened: PanelKind[];
  shut: PanelKind[];
  swipe_index: number;
  swipe_count: number;
  layout: "narrow" | "wide";
  sights: Sights;
  browser: string;
  act: number;
}

/** `low` and `high` name the ends of the scale of a dimension. */
export interface RubricLabel {
  id: string;
  label: string;
  hint: string;
  low: string;
  high: string;
}

export interface ShownRubric {
  id: string;
  dimensions: RubricLabel[];
  tags: RubricLabel[];
}

// ---- answers of the server ---------------------------------------------------------------------------------

/** One turn as the server rendered it; every name and text in `html` is escaped. */
export interface DrawnTurn {
  id: string;
  html: string;
}

/** The turn that is being generated; `replaces` is the turn whose place it takes (regenerate). */
export interface DrawnReply extends DrawnTurn {
  replaces?: string | null;
}

/** Progress of the replay of a book, in turns. */
export interface ReplayState {
  shown: number;
  total: number;
}

/** A character of a scene; `mine` when the visitor plays them, `away` when they are not there now. */
export interface SceneCharacter {
  name: string;
  letters: string;
  colour: string;
  mine: boolean;
  away: boolean;
  rating: Rating | null;
}

/** A scene of several characters; `me` is empty when the visitor only looks on. */
export interface SceneFrame {
  me: string;
  next_speaker: NextSpeaker;
  narrator: boolean;
  cast: SceneCharacter[];
}

/** The frame around the turns: head line, token meter, replay and the rating of the chat. Plain texts. */
export interface ChatFrame {
  title: string;
  speaker: string;
  subtitle: string;
  letters: string;
  colour: string;
  visitor_name: string;
  total: number;
  live: boolean;
  can_continue: boolean;
  can_answer: boolean;
  meter: string;
  meter_hint: string;
  cut: number;
  cut_note: string;
  replay: ReplayState | null;
  rating: Rating | null;
  scene: SceneFrame | null;
}

export type Place = "first" | "second";
export type Winner = Place | "tie" | "both_bad";

/** Two replies side by side, as HTML; `question` is what they answer, for a pair that is shown once more. */
export interface ShownBallot {
  id: string;
  state: "writing" | "vote" | "choice";
  repeat: boolean;
  language: Language;
  sides: string[];
  question: QuotedTurn | null;
}

/** A principle that may be named as a reason of a vote. */
export interface ReasonChip {
  id: string;
  label: string;
  hint: string;
}

export interface ReasonGroup {
  label: string;
  chips: ReasonChip[];
}

export interface Reasons {
  groups: ReasonGroup[];
}

/** A turn in one line, as plain text. */
export interface QuotedTurn {
  speaker: string;
  text: string;
}

/**
 * A change of the page, which may be lost or repeated without harm. `put` draws turns by id; `order` lists the ids of the
 * last turns.
 */
export interface ChatPatch {
  chat: string;
  put?: DrawnTurn[];
  order?: string[];
  live?: DrawnReply;
  view?: ChatFrame;
  end?: boolean;
  error?: string;
  give_back?: string;
  notice?: string;
  /** Two replies that are being written or wait for a vote; null removes them. */
  ballot?: ShownBallot | null;
  /** Said in passing. */
  told?: string;
  /** Why nobody plays on: it is the visitor's turn, or the scene has ended. */
  hint?: string;
  /** Set in the browser: drop all turns that are drawn before this patch is applied. */
  whole?: boolean;
}

/** A patch that shows the end of a chat. */
export interface OpenedChat extends ChatPatch {
  put: DrawnTurn[];
  order: string[];
  view: ChatFrame;
}

export interface OlderTurns {
  chat: string;
  put: DrawnTurn[];
}

/** `focus` is the turn that is shown in the place of the one that was swiped. */
export interface SwipedChat extends OpenedChat {
  focus: string;
}

/** `saved` is the time of the commit: UTC, milliseconds. */
export interface KeptChat extends OpenedChat {
  saved: number;
}

export interface SavedRating {
  saved: number;
}

export interface TurnSource {
  text: string;
}

export interface ExportedFile {
  name: string;
  text: string;
}

/** State of a stored turn, in its attribute `data-state`. `saved` is a time in Unix milliseconds. */
export interface TurnState {
  swipe: [index: number, count: number];
  played: boolean;
  mine: boolean;
  rating: Rating | null;
  saved: number | null;
}

export interface PersonaCard {
  id: string;
  name: string;
  source: string;
  tagline: string;
  language: Language;
  colour: string;
  tags: string[];
  letters: string;
}

export interface ShelvedScene {
  id: string;
  title: string;
  setting: string;
  cast: string[];
  turns: number;
}

export interface StagedScene {
  id: string;
  title: string;
  setting: string;
  language: Language;
  /** Ids of the personas that it was written for. */
  personas: string[];
}

export interface ShelvedBook {
  title: string;
  scenes: ShelvedScene[];
}

/** Words of the interface by their key in her/ui/words.py. */
export interface Words {
  lost_connection?: string;
  [name: string]: string | undefined;
}

/** How far everything is kept outside the server's machine; `age` in seconds. */
export interface ShownSafety {
  waiting: number;
  age: number;
  alarm: "" | "failing" | "taken_over";
}

export interface SafetyAnswer {
  safety: ShownSafety | null;
}

/** First answer: the words of the interface, the rubric, and what can be opened. */
export interface Boot {
  words: Words;
  rubric: ShownRubric;
  personas: PersonaCard[];
  books: ShelvedBook[];
  scenes: StagedScene[];
  badge: string;
  scripted: boolean;
  notice: string;
  safety: ShownSafety | null;
  /** The made-up name of the visitor, under which exports know them. */
  rater: string;
  playtest: ShownPlaytest | null;
  /** Whether the page has a form that writes persona files. */
  author: boolean;
}

export interface PersonaFields {
  name: string;
  source: string;
  language: Language;
  tagline: string;
  colour: string;
  tags: string[];
  profile: string;
  background: string;
  voice: string;
  motivation: string;
  greetings: string[];
}

export interface FaultyFile {
  file: string;
  problem: string;
}

export interface AuthorPage {
  faults: FaultyFile[];
  fields: PersonaFields;
}

/** `greetings` are HTML that the server escaped. */
export interface PersonaDraft {
  id: string;
  problems: string[];
  yaml: string;
  letters: string;
  greetings: string[];
}

export interface SavedPersona {
  id: string;
}

/** The playtest; `consent` is the text to agree to, empty when that is done. */
export interface ShownPlaytest {
  name: string;
  consent: string;
  version: string;
  missions: boolean;
}

export interface AskedDimension {
  id: string;
  label: string;
  done: boolean;
}

/** The visitor's mission; `chat` is empty until it is begun, `before` are the missions that were done before this one. */
export interface ShownMission {
  id: string;
  place: string;
  goal: string;
  chat: string;
  turns: number;
  least: number;
  rate: AskedDimension[];
  done: boolean;
  before: number;
  asks_name: boolean;
}

export interface MissionAnswer {
  mission: ShownMission | null;
}

export interface OfferedScene {
  id: string;
  title: string;
  setting: string;
  suits: boolean;
}

/** `greetings` are HTML that the server escaped. */
export interface PersonaDetail {
  profile: string;
  greetings: string[];
  scenes: OfferedScene[];
}

export interface ListedChat {
  id: string;
  title: string;
  letters: string;
  colour: string;
  /** How the turn begins that is shown last. */
  last: string;
  /** When it was used last: Unix milliseconds. */
  at: number;
}

export interface ChatList {
  chats: ListedChat[];
}

/** `again` is true where the same request may succeed later: the server cannot be reached, or its disk is full. */
export interface Refusal {
  error: string;
  again?: boolean;
}

// ---- requests of the browser -------------------------------------------------------------------------------
// her/ui/requests.py refuses a field that is not listed. Every request has `act`, `token` and `language` as well.

export type Nothing = Record<string, never>;

export interface ChatRequest {
  chat: string;
}

/** `node` is the id of a turn. */
export interface TurnRequest extends ChatRequest {
  node: string;
}

/** An empty id is a new persona. */
export interface AuthorRequest {
  persona: string;
}

export interface DraftPersonaRequest {
  persona: string;
  fields: PersonaFields;
}

export interface SavePersonaRequest {
  persona: string;
  fields: PersonaFields;
  replace: boolean;
}

export interface AgreeRequest {
  version: string;
}

/** `mission` is the one of a link; empty for any. */
export interface MissionRequest {
  mission: string;
}

export interface BeginMissionRequest {
  name: string;
}

export interface PersonaRequest {
  persona: string;
}

export interface StartRequest {
  persona: string;
  scene: string;
  name: string;
  about: string;
  greeting: number;
}

export interface StartBookRequest {
  scenario: string;
  me: string;
  model: string;
  replay: number;
}

export interface StartSceneRequest {
  personas: string[];
  scene: string;
  me: string;
  name: string;
  next_speaker: NextSpeaker;
  narrator: boolean;
}

export interface StartBookSceneRequest {
  scenario: string;
  names: string[];
  me: string;
  replay: number;
  next_speaker: NextSpeaker;
  narrator: boolean;
}

export interface MoveRequest extends ChatRequest {
  character: string;
}

export interface RateCharacterRequest extends MoveRequest {
  rating: SentRating;
}

export interface PlayRequest extends MoveRequest {
  next_speaker: NextSpeaker;
  narrator: boolean;
}

export interface ReplayRequest extends ChatRequest {
  count: number;
}

export interface SwipeRequest extends TurnRequest {
  step: Step;
}

export interface KeepRequest extends TurnRequest {
  seen: Seen;
}

export interface SentRating extends Rating {
  rubric: string;
  seen: Seen;
}

/** `node` is null for the rating of the chat. */
export interface RateRequest extends ChatRequest {
  node: string | null;
  rating: SentRating;
}

/** A vote about the replies by their places. */
export interface PlacedVote {
  id: string;
  winner: Winner;
  dimensions: Record<string, Place | "tie">;
  why: string[];
  comment: string;
  seen: [Seen, Seen];
}

export interface VoteRequest extends ChatRequest {
  ballot: string;
  vote: PlacedVote;
}

/** `side` is null for a pair that is shown once more, which is only skipped. */
export interface GoOnRequest extends ChatRequest {
  ballot: string;
  side: Place | null;
}

export interface EditRequest extends TurnRequest {
  text: string;
}

export interface SteerRequest extends EditRequest {
  kind: PanelKind;
  /** Its number among the parts of this kind in the turn, from 0. */
  place: number;
}

/** An edit that is open in a chat: of a whole turn, or of the plan or thought number `place` of its kind. */
export interface OpenEdit {
  node: string;
  text: string;
  kind: PanelKind | "";
  place: number;
}

export interface TextRequest extends ChatRequest {
  text: string;
}

export interface ExportRequest extends ChatRequest {
  format: ExportFormat;
}

/** Requests that are answered at once: act -> [its fields, its answer]. */
export interface Acts {
  boot: [Nothing, Boot];
  safety: [Nothing, SafetyAnswer];
  author: [AuthorRequest, AuthorPage];
  draft_persona: [DraftPersonaRequest, PersonaDraft];
  save_persona: [SavePersonaRequest, SavedPersona];
  agree: [AgreeRequest, Nothing];
  mission: [MissionRequest, MissionAnswer];
  begin_mission: [BeginMissionRequest, OpenedChat];
  give_up_mission: [Nothing, MissionAnswer];
  my_rows: [Nothing, ExportedFile];
  delete_everything: [Nothing, Nothing];
  persona: [PersonaRequest, PersonaDetail];
  chats: [Nothing, ChatList];
  start: [StartRequest, OpenedChat];
  start_book: [StartBookRequest, OpenedChat];
  start_scene: [StartSceneRequest, OpenedChat];
  start_book_scene: [StartBookSceneRequest, OpenedChat];
  say: [TextRequest, OpenedChat];
  move: [MoveRequest, OpenedChat];
  rate_character: [RateCharacterRequest, SavedRating];
  open: [ChatRequest, OpenedChat];
  older: [TurnRequest, OlderTurns];
  replay: [ReplayRequest, OpenedChat];
  swipe: [SwipeRequest, SwipedChat];
  keep: [KeepRequest, KeptChat];
  rate: [RateRequest, SavedRating];
  source: [TurnRequest, TurnSource];
  edit: [EditRequest, OpenedChat];
  branch: [TurnRequest, OpenedChat];
  delete: [TurnRequest, OpenedChat];
  delete_chat: [ChatRequest, Nothing];
  select: [TurnRequest, OpenedChat];
  restore: [TurnRequest, OpenedChat];
  restore_chat: [ChatRequest, OpenedChat];
  rename: [TextRequest, ChatPatch];
  export: [ExportRequest, ExportedFile];
  stop: [ChatRequest, Nothing];
  vote: [VoteRequest, KeptChat];
  go_on: [GoOnRequest, OpenedChat];
  reasons: [Nothing, Reasons];
}

/** Requests that are answered by a stream of patches: act -> its fields. */
export interface Runs {
  send: TextRequest;
  edit: EditRequest;
  regenerate: TurnRequest;
  answer: ChatRequest;
  continue: ChatRequest;
  steer: SteerRequest;
  play: PlayRequest;
  follow: ChatRequest;
}

export type Act = keyof Acts;
export type Run = keyof Runs;
export type Fields<Name extends Act> = Acts[Name][0];
export type Answer<Name extends Act> = Acts[Name][1];
export type Step = -1 | 1;

// ---- what her/ui/assets.py hands over from Gradio --------------------------------------------------------------

export interface Doors {
  /** The function `act` of the server, and null for a request that never arrived. */
  server: { act(request: object): Promise<object | null> };
  /** Starts a stream of patches, which come as JSON texts in `props.value`. */
  run(request: object): void;
  watch(name: string, changed: () => void): void;
  props: { value: string };
}

// ---- the page ------------------------------------------------------------------------------------------------

export interface Api {
  act<Name extends Act>(name: Name, fields: Fields<Name>): Promise<Answer<Name> | Refusal>;
  run<Name extends Run>(name: Name, fields: Runs[Name]): void;
  /** Send a request that outlives the page; nobody reads its answer. */
  leave<Name extends Act>(name: Name, fields: Fields<Name>): void;
}

export interface Memory {
  /** Return the names that begin so and have a value. */
  names(start: string): string[];
  recall(key: string): string | null;
  keep(key: string, value: string | null): void;
  /** Forget the visitor, their drafts and settings; the language stays. */
  forget(): void;
}

export interface Elements {
  home: HTMLElement;
  turns: HTMLElement;
  before: HTMLElement;
  after: HTMLElement;
  scroll: HTMLElement;
  drawer: HTMLElement;
  box: HTMLTextAreaElement;
  composer: HTMLFormElement;
  dialog: HTMLDialogElement;
}

/** The open chat: its id and, once a patch brought it, the frame. */
export interface Chat extends ChatFrame {
  id: string;
}

/** State that the modules share. One object a page; main.js makes it. */
export interface Stage {
  root: HTMLElement;
  /** What the first page offers. */
  kind: StageKind;
  elements: Elements;
  memory: Memory;
  api: Api;
  language: Language;
  boot: Boot;
  words: Words;
  /** Panels that are shown on every turn. */
  panels: Set<PanelKind>;
  chat: Chat | null;
  /** True while a reply of the open chat is generated. */
  running: boolean;
  /** Whether the thoughts of the others in a scene may be read. */
  director: boolean;
  /** The same when the running reply was asked for: its stream keeps to that. */
  directed: boolean;
  /** Turns of a scene that are still to be played after this one. */
  auto: number;
  /** The character of a scene whose rating is open. */
  rated: string | null;
  /** The end of the chat is kept in view: the person has not scrolled up since. */
  following: boolean;
  /** Asks the server for the open chat once more. */
  reload(): unknown;
  /** The turns below one that is being played anew: how many, and the last of them. */
  later: { count: number; last: string } | null;
  /** Shows the path through a turn that another branch holds. */
  show(node: string): unknown;
  /** Tells the other tabs that a chat has changed. */
  tell(chat: string): void;
  /** Called when a generation of the open chat has ended. */
  ended(end: Pick<ChatPatch, "error" | "hint">): void;
  /** Called for each turn that was drawn anew. */
  drawn(article: HTMLElement): void;
  /** The turn that the keys act on, when the person chose one. */
  chosen: HTMLElement | null;
  /** Two replies that are being written or wait for a vote. */
  ballot: ShownBallot | null;
  /** True while the chat waits for a vote, or for the choice of a reply. */
  voting: boolean;
  /** What the keys do while a vote is asked for. */
  ballotKeys: Record<string, () => unknown> | null;
  /** When the last patch came: Unix milliseconds. */
  lastPatch: number;
}
