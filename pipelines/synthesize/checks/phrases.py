"""Find in a model's text what no character thinks and no actor plans: refusals, talk about the task, Markdown, other scripts.

All of these are tables of words. What the original, the setting or a name already holds is no finding.
"""

import re
from collections.abc import Iterable

from her.types import Language
from her.words import words

_REFUSAL = re.compile(
    r"\bI(?:['’]m| am) (?:really |so |very )?(?:sorry|afraid)[,.]?(?: but)? (?:that )?I (?:can['’]?t|cannot|can "
    r"not|won['’]?t|am unable|"
    r"am not able) (?:to )?(?:help|assist|continue|comply|fulfil|provide|write|do (?:that|this)|generate|create|"
    r"engage|participate)|"
    r"\bI (?:can['’]?t|cannot|can not|won['’]?t|will not|must decline to|am (?:unable|not able) to|['’]m (?:unable|not able) to) "
    r"(?:\w+ly )?(?:(?:help|assist) (?:you )?with (?:this|that|your)|comply with (?:this|that|your|the)|fulfil \w+ request|"
    r"continue with (?:this|that|the|your) (?:request|scene|role|conversation|story|task)|provide (?:this|that|"
    r"such|the requested|any)|"
    r"(?:generate|produce|write|create) (?:this|that|such|the requested|content|a plan|any)|engage (?:in|with) "
    r"(?:this|that|such)|"
    r"participate in (?:this|that|such))|"
    r"\b(?:with|fulfil|fulfill|complete|answer) (?:this|that|your) request\b|\bcontent (?:policy|policies|guidelines)\b|"
    r"\bas an? (?:AI|(?:large )?language model|AI assistant)\b|\b(?:large )?language model\b|\bAI (?:assistant|model)\b|"
    r"(?:抱歉|对不起|不好意思|很遗憾|十分遗憾)[，,。！!]?\s*(?:但|但是|不过)?我?(?:不能|无法|没法|没有办法|不便)"
    r"(?:继续|提供|协助|完成|满足|创作|生成|参与|写|处理)|"
    r"(?:我|本人)?(?:不能|无法)(?:继续|满足|完成|处理|协助|提供)(?:这个|这一|您的|你的|该|此类|这类|这样的)?(?:请求|要求|内容|任务)|"
    r"作为(?:一个|一名|一款)?(?:AI|人工智能|大?语言模型)|语言模型|人工智能助手|内容政策",
    re.I,
)
_META = re.compile(
    r"\b(?:the|this|that|next|given|target|current|final|previous) turn(?= (?:is|must|should|will|needs|goes|has|ends|"
    r"opens|begins|asks|requires|calls|shows|says)\b|[.,;:!?]|$)|\b(?:for|in|of|to|toward|towards|into) (?:this|"
    r"the given|the target|the next|"
    r"the final) turn\b|\bturn t?\d+\b|\b(?:gold|target|given|original|provided) "
    r"(?:reply|line|response|text|dialogue|utterance|speech|answer)s?\b|"
    r"\bas (?:instructed|requested|required by|the instructions|the prompt|specified|told in the)\b|\bthe "
    r"(?:instructions?|prompt|"
    r"user|transcript|JSON|output format|guidelines|word count|source text|original text|dataset|rewriter)\b|"
    r"\baccording to the (?:text|book|novel|draft|source|script|story|instructions)\b|"
    r"\b(?:in|of|from|by) (?:the|this) (?:book|novel|draft|text|chapter|excerpt|passage|prompt|transcript)\b|"
    r"\b(?:the|this|my|first|earlier) draft\b|\bthe (?:author(?! of)|readers?(?! of)|novelist)\b|\brole-?play(?:ing)?\b|"
    r"\b(?:system|role)[ _]thinking\b|\b(?:max_?tokens|JSON)\b|\b\d+ (?:characters|words|tokens)(?: long| in length)?\b|"
    r"本轮|这一轮(?:要求|对话|回复|的(?:台词|回复|原文))|目标轮|原文|草稿|初稿|按照?(?:要求|指示|提示|指令|说明)|根据(?:要求|指示|提示|指令|设定|原文)|"
    r"字数|提示词|系统提示|输出格式|用户|读者|作者|本书|小说里|小说中|(?<!\w)书中|剧本|角色扮演|目标(?:台词|回复)|上下文",
    re.I,
)
"""Talk about the task: the turn as a unit of the task, the draft, the text, the book, the instructions."""
_IN_THOUGHT = re.compile(
    r"\bthe (?:user|instructions|prompt|transcript)\b|\bas (?:instructed|requested|an AI)\b|\b(?:this|the next|my next) turn\b|"
    r"\bmy character\b|\brole-?play\w*|\b(?:in|of) this (?:scene|chapter|dialogue|conversation)\b|\bthe (?:narrator|readers?)\b|"
    r"用户|按照?(?:要求|指示|提示|指令)|根据(?:要求|指示|提示|指令|设定)|本轮|这一轮|我的角色|这个角色|角色扮演|这场戏|读者|剧情|提示词",
    re.I,
)
"""Talk about the task inside a thought; an actor who plans may speak of a scene, a character does not."""
_MARKDOWN = re.compile(
    r"(?m)^\s{0,3}(?:#{1,6} |[-*•·+] |\d{1,2}[.)、] ?(?=\D)|> |\|.+\||`{3}|-{3,}\s*$|\*\*[^*]+\*\*:?\s*$|"
    r"[一二三四五六七八九十]{1,2}、|"
    r"（[一二三四五六七八九十]）|(?:\(\d\)|（\d）))|\*\*[^*\n]+\*\*|__[^_\n]+__|`[^`\n]+`|\[[^\]\n]+\]\([^)\n]+\)|"
    r"(?m:^)\s*(?:plan|analysis|context|goal|aim|step \d+|drafting|execution|谋划|分析|背景|目标|计划|"
    r"步骤[一二三四\d]*)\s*[:：](?=\s|\S)",
    re.I,
)
_OTHER_SCRIPT = re.compile(r"[\u0370-\u052f\u0590-\u08ff\u0900-\u0dff\u0e00-\u0eff\u3041-\u30fa\u1100-\u11ff\uac00-\ud7af]")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]{2,}")
# fmt: off
_ENGLISH = frozenset((
    "the", "a", "an", "is", "are", "was", "were", "be", "been", "i", "you", "he", "she", "it", "we", "they", "him", "her", "them",
    "my", "your", "his", "its", "our", "their", "this", "that", "not", "no", "to", "of", "in", "on", "for", "with", "and", "or",
    "but", "as", "at", "if", "so", "do", "did", "does", "have", "has", "had", "will", "would", "can", "could",
    "must", "what", "who",
    "how", "why", "when", "where", "there", "here", "then", "now", "than", "up", "out", "by", "from", "let", "one", "me", "too",
))
_OTHER_LATIN = frozenset((
    "el", "los", "las", "una", "que", "es", "esta", "está", "por", "pero", "puedo", "decir", "decirlo",
    "tengo", "mi", "muy", "como",
    "je", "ne", "pas", "le", "les", "des", "est", "et", "mais", "dois", "suis", "mon", "ma", "vous", "elle",
    "il", "ce", "cela", "avec",
    "ich", "nicht", "und", "der", "das", "ist", "ein", "eine", "muss", "mein", "aber", "sie", "wir", "kann", "mit", "auf", "auch",
    "non", "devo", "dire", "sono", "della", "che", "ho", "lo", "di", "io", "não", "eu", "isso", "uma", "com", "dizer",
))
# fmt: on
_TRADITIONAL = (
    "這個們來說時國會對學後過還沒給讓開關問間聽見親話講請認識誰麼長門馬車東風電頭發現實點種樣變難歡樂愛體覺應該當氣書畫寫買賣錢銀進遠邊達運選處號從無為與嗎雙義習興舉萬業單嚴喪豐臨麗舊歲島師帶幫廣庫廟廠廳張彎強彈歸"
    "憂懷戰戲撥擔擇擋據擁攔收數斷於晝曉暫條極構標橋機權歎殘殺氈漢滅滿漸潔潛潤澤濕濟災烏煙熱燈爐爭爺牆獨獲獻環產畢異瘋盡監盤眾睜碼礙禮禪稱穩窩窮筆節範築簡糧紀約紅紋納紙級細終結絕統絲經綠維緊線緩練縣總繞繡繼續"
    "罵羅罰聖聞聲聰職肅脅脈腦腳臉舖艙艷藝藥蘭虛蟲術衛裝補褲觀規視訂計討訓託記訪設許訴診評詞試詩該詳誇誌誠誤說課調談論諾謀謂謝謹證議譯護讀變豈豬貝負財責貪貨貴貸費賀資賊賞賠賢質賴贈贏趕趙跡踐車軍軟較載輕輛輝輪輸轉辦農"
    "連遊遞適遲遷邁鄉鄭醉醫釋針釣鈴銅銷鎖鎮鏡鐘鐵鑰閉閃閑閒閣閱闖陣陰陳陸陽隊階際隨險隱雖雞離雲霧靈靜響頁頂項順須頓預領頗頭題額顏願類顧飄飛飯飲飽餓館駕騎騙驚驗骯髒鬆鬍鬥鬧魚鮮鳥鳳鳴鴨鵝麥黃黨齊齒齡龍龐龜"
)
_SIMPLIFIED = (
    "这个们来说时国会对学后过还没给让开关问间听见亲话讲请认识谁么长门马车东风电头发现实点种样变难欢乐爱体觉应该当气书画写买卖钱银进远边达运选处号从无为与吗双义习兴举万业单严丧丰临丽旧岁岛师带帮广库庙厂厅张弯强弹归"
    "忧怀战戏拨担择挡据拥拦收数断于昼晓暂条极构标桥机权叹残杀毡汉灭满渐洁潜润泽湿济灾乌烟热灯炉争爷墙独获献环产毕异疯尽监盘众睁码碍礼禅称稳窝穷笔节范筑简粮纪约红纹纳纸级细终结绝统丝经绿维紧线缓练县总绕绣继续"
    "骂罗罚圣闻声聪职肃胁脉脑脚脸铺舱艳艺药兰虚虫术卫装补裤观规视订计讨训托记访设许诉诊评词试诗该详夸志诚误说课调谈论诺谋谓谢谨证议译护读变岂猪贝负财责贪货贵贷费贺资贼赏赔贤质赖赠赢赶赵迹践车军软较载轻辆辉轮输转办农"
    "连游递适迟迁迈乡郑醉医释针钓铃铜销锁镇镜钟铁钥闭闪闲闲阁阅闯阵阴陈陆阳队阶际随险隐虽鸡离云雾灵静响页顶项顺须顿预领颇头题额颜愿类顾飘飞饭饮饱饿馆驾骑骗惊验肮脏松胡斗闹鱼鲜鸟凤鸣鸭鹅麦黄党齐齿龄龙庞龟"
)
_PAIRS = [(left, right) for left, right in zip(_TRADITIONAL, _SIMPLIFIED, strict=True) if left != right]
# A character that stands in both columns (乾, 後 as a name) would be found in honest text.
_ONLY_TRADITIONAL = frozenset(left for left, _ in _PAIRS) - frozenset(right for _, right in _PAIRS)
_ONLY_SIMPLIFIED = (
    frozenset(right for _, right in _PAIRS) - frozenset(left for left, _ in _PAIRS) - frozenset("于后云志胡斗松托范么脏铺")
)


def refusal(text: str) -> str:
    """Return the words by which a model refuses its task; empty when there are none."""
    return _found(_REFUSAL, text, "")


def task_talk(text: str, known: str = "") -> str:
    """Return the first talk of a plan about the task itself; `known` is text of the scene that may hold the same words."""
    return _found(_META, text, known)


def task_talk_in_thought(text: str, known: str = "") -> str:
    """Return the first talk of a thought about the task itself."""
    return _found(_IN_THOUGHT, text, known)


def markdown(text: str, known: str = "") -> str:
    """Return the first mark of Markdown or heading of a list."""
    return _found(_MARKDOWN, text, known)


def _found(pattern: re.Pattern[str], text: str, known: str) -> str:
    known = known.lower()
    return next((match[0].strip() for match in pattern.finditer(text) if match[0].strip().lower() not in known or not known), "")


def foreign(text: str, known: str, language: Language, names: Iterable[str] = ()) -> str:
    """Return the first word of another language or script that `known` does not have; empty when there is none."""
    if letter := next((letter for letter in _OTHER_SCRIPT.findall(text) if letter not in known), ""):
        return letter
    if language == "en":
        return next((letter for letter in _IDEOGRAPH.findall(text) if letter not in known), "") or _other_latin(text, known)
    known += " ".join(names)
    return next((word for word in _LATIN_WORD.findall(text) if word not in known), "") or other_script(text, known)


def _other_latin(text: str, known: str) -> str:
    """Return the first piece of a sentence in another language of Latin letters: its small words outnumber the English ones."""
    there = set(words(known))
    for sentence in re.split(r"(?<=[.!?…;,])\s+|\n", text):
        said = {word for word in words(sentence) if word not in there}
        if len(other := said & _OTHER_LATIN) >= 2 and len(other) > len(said & _ENGLISH):
            return sentence.strip()
    return ""


def other_script(text: str, known: str) -> str:
    """Return the first traditional character in a simplified text, or the other way round; empty when there is none."""
    simplified = sum(char in _ONLY_SIMPLIFIED for char in known)
    traditional = sum(char in _ONLY_TRADITIONAL for char in known)
    if simplified == traditional:
        return ""
    wrong = _ONLY_TRADITIONAL if simplified > traditional else _ONLY_SIMPLIFIED
    return next((char for char in text if char in wrong and char not in known), "")
