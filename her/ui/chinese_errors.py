"""Sentences of refusals in Chinese: the errors are written in English where they arise, and put into Chinese for the page."""

import re

from her.types import Language

# Each pattern is a whole sentence; what is in brackets goes into the Chinese one in the same order.
SENTENCES: tuple[tuple[str, str], ...] = (
    (r"the message is empty; write something to send", "消息是空的；请先写点什么。"),
    (
        r"the message has ([\d,]+) characters; at most ([\d,]+) are allowed, shorten it",
        "消息有 {0} 个字符，最多 {1} 个；请缩短。",
    ),
    (
        r"the name has (\d+) characters; at most (\d+) are allowed, use a shorter one",
        "名字有 {0} 个字符，最多 {1} 个；请换短一些的。",
    ),
    (r"the name (.+) is the persona's name; choose another for yourself", "{0} 是人物的名字；请给自己换一个。"),
    (r"the name (.+) is the narrator's name; choose another", "{0} 是旁白的名字；请换一个。"),
    (r"the name (.+) contains (.+), which separates names from speech; leave it out", "名字 {0} 含有 {1}；请去掉它。"),
    (r"the title is empty; write one", "标题是空的；请写一个。"),
    (r"a reply is being written in this chat; wait for it or stop it first", "此会话正在生成回复；请等待，或先停止。"),
    (
        r"(\d+) replies are being written for you in other chats; wait for one of them or stop it",
        "你的其他会话有 {0} 个回复在生成；请等待或停止其一。",
    ),
    (r"(\d+) tabs of yours are following a reply; close one of them", "你有 {0} 个标签页在接收回复；请关闭其一。"),
    (r"many chats were started from your network address; .*", "你的网络地址刚开始了许多会话；请等一分钟再开始。"),
    (
        r"you have (\d+) chats and at most (\d+) are kept; delete one that you do not need any more",
        "你有 {0} 个会话，最多保留 {1} 个；请删除不需要的。",
    ),
    (
        r"this chat has ([\d,]+) turns and at most ([\d,]+) are allowed; start a new chat",
        "此会话已有 {0} 轮，最多 {1} 轮；请开始新的会话。",
    ),
    (r"this turn is not the model's; choose one that the model played", "这一轮不是模型演的；请选模型演的一轮。"),
    (r"this turn is not yours; edit a turn of your own", "这一轮不是你的；请修改自己的一轮。"),
    (
        r"the last turn is not the model's, so it cannot be continued; send a message instead",
        "最后一轮不是模型的，不能续写；请发送消息。",
    ),
    (r"the edit leaves nothing to be seen; write speech, an act or a thought", "修改后什么也不剩；请写言语、动作或想法。"),
    (r"the text is the same as before; change it, or ask for another reply", "文字与原来相同；请改动它，或换一个回复。"),
    (r"this turn has no such plan or thought; .*", "这一轮没有这段构思或想法；请重新加载页面再选。"),
    (r"only turns of the persona can be rated; .*", "只有人物的发言可以评分。"),
    (r"the turn above this one is deleted as well; bring that one back first", "它上面的一轮也已删除；请先恢复那一轮。"),
    (
        r"(?:the turn .+ is not shown|this turn is no longer shown|there is no turn .+) ?in this chat; reload the page",
        "此会话中已不显示这一轮；请重新加载页面。",
    ),
    (r"there is no chat .+ here; choose one from your list", "这里没有此会话；请从列表中选择。"),
    (r"there is no persona .+ here; choose one from the list", "这里没有此人物；请从列表中选择。"),
    (r"there is no scene .+ here; choose one from the list", "这里没有此场景；请从列表中选择。"),
    (r"stopped before anything was said; the chat is unchanged", "尚未说出任何话就已停止；会话未改变。"),
    (
        r"the model said nothing after what you rewrote; the chat is unchanged, try again",
        "模型在你改写之后什么也没说；会话未改变，请重试。",
    ),
    (r"the model had nothing to add; the turn is unchanged", "模型没有可补充的；这一轮未改变。"),
    (
        r"the model (?:ended without saying anything|planned its turn and then said nothing); ask again",
        "模型什么也没说；请再试一次。",
    ),
    (
        r"the model used all ([\d,]+) tokens on its reasoning and said nothing; .*",
        "模型把 {0} 个词元全用在推理上，什么也没说；请再试一次。",
    ),
    (r"the model's reply broke off before its end; ask again", "模型的回复中途断开；请再试一次。"),
    (r"the reply took more than (\d+) seconds and was ended; ask again", "回复超过 {0} 秒，已结束；请再试一次。"),
    (r"two replies wait for your vote; vote or skip, then go on", "有两个回复等你投票；请投票或跳过后继续。"),
    (r"(.+) is not there now; .*", "{0} 现在不在场；请先让其进来。"),
    (r"you play nobody in this scene; .*", "你在这场戏里不扮演任何人；请让别人演，或重新开始并选一个角色。"),
    (r"you choose who speaks; choose a character above the text field", "由你决定谁发言；请在输入框上方选一个角色。"),
    (r"the disk of this playground is full, nothing was saved; .*", "服务器磁盘已满，没有保存；请告知管理者，稍后再试。"),
    (
        r"this playground cannot reach its database, nothing was saved; .*",
        "服务器无法连接数据库，没有保存；请告知管理者，稍后再试。",
    ),
    (r"Something went wrong on the server; .*", "服务器出错了，详情见其日志；请重新加载页面再试。"),
    (r"an unexpected error ended the reply; the chat is unchanged, ask again", "意外错误中断了回复；会话未改变，请再试一次。"),
)
CLAUSES: tuple[tuple[str, str], ...] = (
    (r"start the server, or correct its address", "请启动模型服务器，或更正其地址"),
    (r"set HER_OPENAI_API_KEY to a valid key and start again", "请设置有效的密钥 HER_OPENAI_API_KEY 后重新启动"),
    (r"check the model's name and the address, .*", "请检查模型名称与地址"),
    (r"wait a little and try again, or allow fewer calls at once", "请稍等再试"),
    (r"look at the server's log, then try again", "请查看服务器日志后重试"),
    (r"it may be loading or overloaded, try again", "它可能在加载或过载，请重试"),
    (r"change the request: .*", "请改用更短的内容或其他模型"),
    (r"try again.*", "请重试"),
)
"""Advice of REASONS (her/errors.py), which ends the sentence of a failed call."""


def in_language(sentence: str, language: Language) -> str:
    """Return a refusal in the language of the page.

    A failed call of a model keeps what the server said, behind a Chinese clause that says what can be done; a sentence that is
    not in the table stays as it is.
    """
    if language != "zh" or not sentence:
        return sentence
    for pattern, chinese in SENTENCES:
        if found := re.fullmatch(pattern, sentence, re.DOTALL):
            return chinese.format(*found.groups())
    told, _, advice = sentence.rstrip(".").rpartition("; ")
    for pattern, chinese in CLAUSES:
        if told and re.fullmatch(pattern, advice, re.DOTALL):
            return f"模型没有回应；{chinese}。（{told}）"
    return sentence
