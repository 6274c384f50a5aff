"""Words of the page in English and Chinese; the page loads one language of them when it opens."""

from her.types import Language

WORDS: dict[str, tuple[str, str]] = {
    # the bar
    "home": ("Personas", "人物"),
    "chats": ("Chats", "会话"),
    "role_thinking": ("Inner thoughts", "内心独白"),
    "system_thinking": ("Model reasoning", "模型推理"),
    "role_action": ("Action", "动作"),
    "speech": ("Speech", "言语"),
    "toggle_role_thinking": ("Show the inner thoughts of every turn (t)", "显示每一轮的内心独白（t）"),
    "toggle_system_thinking": ("Show the model's reasoning of every turn (r)", "显示每一轮的模型推理（r）"),
    "peek_role_thinking": ("Inner thoughts of this turn", "本轮的内心独白"),
    "peek_system_thinking": ("Model reasoning of this turn", "本轮的模型推理"),
    "scripted_badge": (
        "No model is connected: these are lines written for each persona. Connect a model",
        "未连接模型：台词是为每个人物预先写好的。点此连接模型",
    ),
    "shortcuts": ("Keys", "快捷键"),
    "shortcut_lines": (
        "t inner thoughts · r model reasoning · ← → swipes · ↑ ↓ choose a turn · 1–5 stars, one dimension after the other · "
        "+ − thumbs · / write · Esc close",
        "t 内心独白 · r 模型推理 · ← → 切换回复 · ↑ ↓ 选择一轮 · 1–5 依次为各维度打星 · + − 赞/踩 · / 输入 · Esc 关闭",
    ),
    # the first page
    "welcome": ("Who would you like to meet?", "你想与谁相见？"),
    "welcome_more": (
        "Every persona has an inner life that you can see: what they think, and how the model plans each turn.",
        "每个人物都有看得见的内心：他们在想什么，模型又如何构思每一轮。",
    ),
    "search": ("Search by name, book or tag", "按姓名、作品或标签查找"),
    "everyone": ("All", "全部"),
    "no_match": ("No persona matches. Clear the search to see all of them.", "没有符合的人物。清空查找框可查看全部。"),
    "from_books": ("Scenes from books", "书中场景"),
    "scene": ("Scene", "场景"),
    "no_scene": ("No scene", "不设场景"),
    "opening_line": ("Opening", "开场白"),
    "your_name": ("Your name", "你的名字"),
    "your_about": ("Who you are (optional; the persona will know it)", "你的身份（选填；对方会知道）"),
    "begin": ("Begin", "开始"),
    "cancel": ("Cancel", "取消"),
    "back": ("Back", "返回"),
    "visitor": ("Visitor", "来客"),
    "scene_count": ("{n} scenes", "{n} 个场景"),
    "plot": ("Plot", "情节"),
    "you_are": ("You are", "你扮演"),
    "model_plays": ("The model plays", "模型扮演"),
    "replay_first": ("Replay turns of the book first", "先重放书中的对白"),
    "replay_next": ("Replay the next turn of the book", "重放书中的下一轮"),
    "replay_all": ("Replay to the end", "重放到底"),
    "replay_left": ("left in the book", "轮待重放"),
    "no_chats": ("No chats yet. Choose a persona to begin one.", "还没有会话。选一个人物开始吧。"),
    "untitled": ("Untitled", "未命名"),
    # the stage
    "say": ("Say something", "说点什么"),
    "send": ("Send", "发送"),
    "stop": ("Stop", "停止"),
    "continue": ("Continue", "续写"),
    "answer": ("Let {name} speak", "让{name}说话"),
    "regenerate": ("Another reply", "换一个回复"),
    "edit": ("Edit", "修改"),
    "delete": ("Delete from here on", "从这里开始删除"),
    "delete_sure": ("Delete this turn and what follows it?", "删除这一轮及其后的内容？"),
    "delete_chat_sure": (
        "Delete this chat? It is left out of every export, and so are its ratings.",
        "删除此会话？此会话及其评分不会再出现在任何导出中。",
    ),
    "branch": ("Branch from here", "从这里另开分支"),
    "keep": ("Keep this one", "就用这个"),
    "kept": ("kept", "已选用"),
    "edited": ("edited", "已修改"),
    "stopped": ("stopped", "已停止"),
    "truncated": ("cut at the length limit", "达到长度上限被截断"),
    "defects": ("Format", "格式"),
    "previous_swipe": ("Previous reply", "上一个回复"),
    "next_swipe": ("Next reply", "下一个回复"),
    "older": ("Show earlier turns", "显示更早的对话"),
    "thinking_of": ("is thinking", "正在思考"),
    "save": ("Save", "保存"),
    "edit_hint": (
        "Write thoughts in [square brackets] and acts in (round brackets); everything else is speech.",
        "[方括号] 内写内心独白，(圆括号) 内写动作，其余为说出口的话。",
    ),
    "export": ("Export", "导出"),
    "rename": ("Rename", "重命名"),
    "more": ("More", "更多"),
    "copied": ("Saved to a file", "已存为文件"),
    # the rating bar
    "rate": ("Rate this turn", "为这一轮评分"),
    "rate_chat": ("Rate the chat", "为整场对话评分"),
    "like": ("Good turn", "好评"),
    "dislike": ("Weak turn", "差评"),
    "comment": ("Comment", "评语"),
    "saved_at": ("saved", "已保存"),
    "saving": ("saving", "保存中"),
    "not_saved": ("not saved", "未保存"),
    "star": ("{n} of 5", "{n} 星（共 5 星）"),
    # the meter
    "meter": ("{tokens} of {budget} tokens", "{tokens} / {budget} 词元"),
    "meter_about": ("about ", "约 "),
    "meter_cut": (
        "The {n} oldest turns no longer fit and are not sent; persona and scene are always sent.",
        "最早的 {n} 轮已超出上下文，不再发送；人物与场景始终会发送。",
    ),
    "ephemeral": (
        "This Space has no durable database: ratings are lost when it restarts.",
        "此 Space 没有持久数据库：重启后评分会丢失。",
    ),
    "lost_connection": (
        "The server cannot be reached. Your text is kept here; try again.",
        "无法连接服务器。你写的内容仍保留在此处，请重试。",
    ),
}


def words(language: Language) -> dict[str, str]:
    """Return all words in one language."""
    column = 1 if language == "zh" else 0
    return {key: pair[column] for key, pair in WORDS.items()}
